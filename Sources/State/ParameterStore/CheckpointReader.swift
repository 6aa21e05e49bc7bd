public import Cluster

/// Reads a complete checkpoint.
public struct CheckpointReader: Sendable {
    public let directory: String
    public let manifest: CheckpointManifest

    /// Opens the checkpoint in `directory`.
    ///
    /// - Throws: `CenterStoreError`: `.file` if there is none, `.damaged` if its manifest is not what was written.
    public init(directory: String) throws(CenterStoreError) {
        self.directory = directory
        let path = "\(directory)/\(CheckpointManifest.fileName)"
        guard let manifest = try ChecksummedJSON.read(CheckpointManifest.self, from: path) else {
            throw CenterStoreError(
                .file, "\(directory) is no complete checkpoint: it has no \(CheckpointManifest.fileName)")
        }
        guard manifest.formatVersion == CheckpointManifest.currentFormat else {
            throw CenterStoreError(
                .file,
                "\(path) has format \(manifest.formatVersion), this version knows \(CheckpointManifest.currentFormat)")
        }
        if let problem = manifest.problem { throw CenterStoreError(.damaged, "\(path): \(problem)") }
        self.manifest = manifest
    }

    /// The path of a slice's file.
    ///
    /// - Throws: `CenterStoreError`, `.notHeld` if the checkpoint has no such slice.
    public func path(of slice: SliceName) throws(CenterStoreError) -> String {
        "\(directory)/\(try file(of: slice).path)"
    }

    /// The manifest's entry of a slice.
    ///
    /// - Throws: `CenterStoreError`, `.notHeld` if the checkpoint has no such slice.
    public func file(of slice: SliceName) throws(CenterStoreError) -> CheckpointManifest.File {
        guard let file = manifest.files.first(where: { $0.slice == slice }) else {
            throw CenterStoreError(
                .notHeld,
                "\(directory) has no \(slice): it has \(manifest.sliceCount) slices and \(manifest.denseSliceCount) of the backbone"
            )
        }
        return file
    }

    /// Reads a slice into memory that is exactly as long, plane by plane, `width` numbers per row (1 for the backbone), and checks its
    /// hash.
    ///
    /// - Parameter format: of this memory, which must be the checkpoint's.
    /// - Throws: `CenterStoreError`: `.file` if the file has another length or format than this memory, `.damaged` if it
    ///   is not what was written. The memory has undefined contents then.
    public func read(
        _ slice: SliceName, width: Int, format: TableFormat = .f32, into planes: [UnsafeMutableRawBufferPointer]
    ) throws(CenterStoreError) {
        let entry = try file(of: slice)
        let path = "\(directory)/\(entry.path)"
        let kept = manifest.format(of: slice)
        guard kept == format else {
            throw CenterStoreError(
                .file,
                "\(path) keeps \(kept), and is to be read as \(format): export it, and import it with the other configuration"
            )
        }
        guard width > 0, format.isPossible, case let rowBytes = format.rows.byteCount(width: width), !planes.isEmpty,
            planes[0].count % rowBytes == 0, case let rowCount = planes[0].count / rowBytes,
            planes.map(\.count) == format.planes.map({ rowCount * $0.byteCount(width: width) }),
            case let layout = CheckpointLayout(slice, rowCount: rowCount, width: width, format: format),
            layout.byteCount == entry.bytes
        else {
            throw CenterStoreError(
                .file,
                "\(path) has \(entry.bytes) bytes: it does not fit \(planes.map(\.count)) bytes in rows of \(width) numbers"
            )
        }
        let file = try CheckpointFile(path, entry)
        var header = [UInt8](repeating: 0, count: layout.header.count)
        try header.withMutableBytes { (bytes) throws(CenterStoreError) in try file.read(bytes) }
        guard header == layout.header else { throw file.damage("its header is not the one of \(slice)") }
        for plane in planes { try file.read(plane) }
        for part in layout.parts.dropFirst(planes.count) { try file.skip(part) }
        try file.checkHash()
    }

    /// Reads every file and compares its hash with the manifest's.
    ///
    /// - Parameter progress: is called after each file with bytes read so far and in all.
    /// - Returns: what is wrong, a line per file; empty if nothing is.
    public func verify(progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) -> [String] {
        var problems: [String] = []
        let total = manifest.files.reduce(0) { $0 + $1.bytes }
        var done = 0
        for entry in manifest.files {
            do throws(CenterStoreError) {
                try CheckpointFile.verify("\(directory)/\(entry.path)", entry)
            } catch { problems.append(error.description) }
            done += entry.bytes
            progress(done, total)
        }
        for file in manifest.jobFiles ?? [] {
            do throws(CenterStoreError) {
                try Self.checkFiles([file], in: directory)
                try CheckpointJobFile.verify(file, in: directory)
            } catch { problems.append(error.description) }
        }
        return problems
    }

    /// The complete checkpoints in the folders of `parent`, by step, and the folders whose manifest cannot be read
    /// with the reason.
    ///
    /// - Throws: `CenterStoreError` if `parent` is there and cannot be listed.
    public static func list(
        in parent: String
    ) throws(CenterStoreError) -> (checkpoints: [CheckpointReader], problems: [String]) {
        guard FileIO.exists(parent) else { return ([], []) }
        var found: [CheckpointReader] = []
        var problems: [String] = []
        for name in try FileIO.names(in: parent) where FileIO.exists("\(parent)/\(name)/\(CheckpointManifest.fileName)")
        {
            do throws(CenterStoreError) { found.append(try CheckpointReader(directory: "\(parent)/\(name)")) } catch {
                problems.append(error.description)
            }
        }
        return (found.sorted { ($0.manifest.step, $0.directory) < ($1.manifest.step, $1.directory) }, problems)
    }

    /// Removes a checkpoint, also an unfinished one: its manifest first, so that half of it is never taken for one.
    /// Files that are not a checkpoint's stay, and with them the directory.
    ///
    /// - Throws: `CenterStoreError` if a file cannot be removed.
    public static func delete(_ directory: String) throws(CenterStoreError) {
        guard FileIO.exists(directory) else { return }
        let manifest = "\(directory)/\(CheckpointManifest.fileName)"
        try FileIO.remove(manifest)
        try FileIO.remove(manifest + FileIO.temporarySuffix)
        try FileIO.syncDirectory(directory)
        for (folder, prefix) in [("slices", "slice-"), ("dense", "dense-")] {
            let path = "\(directory)/\(folder)"
            guard FileIO.isDirectory(path) else { continue }
            for name in try FileIO.names(in: path)
            where name.hasPrefix(prefix)
                && (name.hasSuffix(".safetensors") || name.hasSuffix(".safetensors" + FileIO.temporarySuffix))
            {
                try FileIO.remove("\(path)/\(name)")
            }
            if try FileIO.names(in: path).isEmpty { try FileIO.removeDirectory(path) }
        }
        try deleteJobFiles(of: directory)
        if try FileIO.names(in: directory).isEmpty { try FileIO.removeDirectory(directory) }
    }
}
