internal import CKernels
internal import Foundation

/// Walks through a folder of identities: their images in order, and everything that is none of them.
struct FolderScan {
    private let root: RawPath
    private(set) var problems: ProblemList
    /// The name of each class.
    private(set) var folders: [RawPath] = []
    /// The name of each image in its folder.
    private(set) var files: [RawPath] = []
    private(set) var labels: [Int32] = []
    private(set) var fingerprint: UInt64 = 0
    /// As `fingerprint`, with the lengths of links in place of their targets'; nil if there is no link.
    var formerFingerprint: UInt64? { hasLinks ? former : nil }

    private var former: UInt64 = 0
    private var hasLinks = false
    /// Names in the root that are no folders, the first few.
    private var rootFiles: [RawPath] = []
    private var rootImages = 0
    /// Folders of which nothing is left, the first few.
    private var emptyFolders: [RawPath] = []
    private var emptyFolderCount = 0
    /// Folders inside identities' folders: which are not looked into.
    private var nested: [RawPath] = []
    private var nestedCount = 0
    private var otherFiles: [String: Int] = [:]
    private static let kept = 5

    init(root: String, policy: BadSamplePolicy) {
        self.root = RawPath(root)
        problems = ProblemList(policy: policy)
    }

    /// - Throws: `DatasetError` if the root cannot be listed, or for the first bad file if those are fatal.
    mutating func run() throws(DatasetError) {
        for name in try root.names() {
            guard let status = root.appending(name).status else {
                problems.report.note("\(root.appending(name)) was passed over: \(Self.reason())")
                continue
            }
            if status.isFolder {
                try readFolder(name)
            } else {
                if rootFiles.count < 1000 { rootFiles.append(name) }
                if ImageDecoder.extensions.contains(name.fileExtension) { rootImages += 1 }
            }
        }
        describe()
    }

    private mutating func readFolder(_ folder: RawPath) throws(DatasetError) {
        let path = root.appending(folder)
        let names: [RawPath]
        do throws(DatasetError) { names = try path.names() } catch {
            try problems.report(error)
            problems.report.leaveOutIdentity()
            return
        }
        let before = (files.count, problems.report.leftOutSamples)
        for name in names { try readFile(name, in: folder, at: path.appending(name)) }
        if files.count > before.0 {
            folders.append(folder)
        } else {
            emptyFolderCount += 1
            if emptyFolders.count < Self.kept { emptyFolders.append(folder) }
            if problems.report.leftOutSamples > before.1 { problems.report.leaveOutIdentity() }
        }
    }

    private mutating func readFile(_ name: RawPath, in folder: RawPath, at path: RawPath) throws(DatasetError) {
        func problem(_ code: DatasetError.Code, _ text: String) -> DatasetError {
            DatasetError(code, path: path.description, index: files.count, text)
        }
        let isNamedImage = ImageDecoder.extensions.contains(name.fileExtension)
        guard let status = path.status else {
            // A link whose target is not there is an image that was not fetched, unless its name says otherwise.
            let reason = Self.reason()
            guard isNamedImage else { return count(name) }
            return try problems.report(problem(.unreadableFile, "cannot be read: \(reason)"))
        }
        if status.isFolder {
            nestedCount += 1
            if nested.count < Self.kept { nested.append(path) }
            return
        }
        if isNamedImage {
            guard status.isFile, status.st_size > 0 else {
                return try problems.report(problem(.corruptImage, "is empty or no file"))
            }
        } else {
            guard status.isFile, status.st_size > 0 else { return count(name) }
            switch PictureFormat(Self.head(of: path)) {
            case .unread(let kind): return try problems.report(Self.unread(kind, problem))
            case nil where PictureFormat.unreadExtensions.contains(name.fileExtension):
                return try problems.report(Self.unread("." + name.fileExtension, problem))
            case nil: return count(name)
            default: break
            }
        }
        add(name, folder, path, size: Int(status.st_size))
    }

    private mutating func add(_ name: RawPath, _ folder: RawPath, _ path: RawPath, size: Int) {
        files.append(name)
        labels.append(Int32(folders.count))
        let entry = folder.bytes + [0x2F] + name.bytes + [0x20]
        func sum(_ previous: UInt64, _ size: Int) -> UInt64 {
            (entry + Array("\(size)".utf8)).withUnsafeBytes { pfc_image_checksum(previous, $0.baseAddress, $0.count) }
        }
        fingerprint = sum(fingerprint, size)
        var linkSize = size
        if let link = path.linkStatus, link.st_mode & S_IFMT == S_IFLNK {
            hasLinks = true
            linkSize = Int(link.st_size)
        }
        former = sum(former, linkSize)
    }

    private mutating func count(_ name: RawPath) {
        // A bounded number of kinds.
        let kind = name.fileExtension.isEmpty ? "no ending" : "." + name.fileExtension.prefix(12)
        otherFiles[otherFiles.count < 20 || otherFiles[kind] != nil ? kind : "other endings", default: 0] += 1
    }

    private static func unread(
        _ kind: String, _ problem: (DatasetError.Code, String) -> DatasetError
    ) -> DatasetError {
        problem(.unreadFormat, "is a picture of kind \(kind), which is not read: convert it to JPEG or PNG")
    }

    private static func reason() -> String { String(cString: strerror(errno)) }

    private static func head(of path: RawPath) -> [UInt8] {
        guard let file = try? RecordFile(path: path) else { return [] }
        return (try? file.bytes(at: 0, count: min(file.byteCount, PictureFormat.headByteCount))) ?? []
    }

    /// Says what was passed over, and what was probably meant.
    private mutating func describe() {
        if emptyFolderCount > 0 {
            problems.report.note(
                "\(counted(emptyFolderCount, "folder has", "folders have")) no image that is read, and no identity's label: \(Self.list(emptyFolders, emptyFolderCount))"
            )
        }
        if nestedCount > 0 {
            problems.report.note(
                "\(counted(nestedCount, "folder", "folders")) inside the folders of identities not looked into: \(Self.list(nested, nestedCount))"
            )
        }
        if rootImages > 0 {
            problems.report.note(
                "\(counted(rootImages, "image", "images")) left out in \(root) itself, in no identity's folder")
        }
        if !otherFiles.isEmpty {
            let kinds = otherFiles.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }
            problems.report.note("files that are no pictures were passed over: \(kinds.joined(separator: ", "))")
        }
        if folders.count < 2 { problems.report.hints = hints() }
    }

    private static func list(_ names: [RawPath], _ count: Int) -> String {
        names.map(\.description).joined(separator: ", ") + (count > names.count ? ", …" : "")
    }

    private func hints() -> [String] {
        var hints: [String] = []
        let lists = rootFiles.filter { ["txt", "csv", "tsv", "lst", "json"].contains($0.fileExtension) }
        if let list = lists.first, folders.count == 1 {
            hints.append(
                "\(list) lies beside the folder \(folders[0]): lists of labels are not read; make a folder per identity, or a train.rec"
            )
        }
        if let inner = nested.first(where: Self.hasImages) {
            let parent = RawPath(bytes: Array(inner.bytes.prefix(upTo: inner.bytes.lastIndex(of: 0x2F) ?? 0)))
            hints.append("there are folders with images in \(parent): if those are the identities, name that folder")
        }
        if rootImages > 0 {
            hints.append("if \(root) is the folder of one identity, name the folder above it")
        }
        if rootFiles.contains(RawPath("train.rec")) {
            hints.append("\(root)/train.rec is a record file: that is kind rec")
        }
        return hints
    }

    private static func hasImages(_ folder: RawPath) -> Bool {
        ((try? folder.names()) ?? []).prefix(100).contains { ImageDecoder.extensions.contains($0.fileExtension) }
    }
}
