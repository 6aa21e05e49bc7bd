internal import Foundation

/// Images by their names: a folder's files, or those that a list names.
public struct ListedImages: ImageSource {
    public let imageShape: ImageShape
    /// Paths, as they are opened.
    public let paths: [String]
    /// A label for each, if the list gives them.
    public let labels: [Int64]?
    /// A number that differs when the names or the files' sizes do.
    public let fingerprint: UInt64

    /// The pictures that lie in a folder itself, by name.
    ///
    /// - Throws: `DatasetError` if the folder cannot be listed or has none.
    public init(folder: String, imageShape: ImageShape) throws(DatasetError) {
        let names = try RawPath(folder).names().filter { ImageDecoder.extensions.contains($0.fileExtension) }
        guard !names.isEmpty else {
            throw DatasetError(.noSamples, path: folder, "has no images: expected files of \(ImageDecoder.formats)")
        }
        try self.init(
            paths: names.map { folder + "/" + $0.description }, labels: nil, imageShape: imageShape, of: folder)
    }

    /// The pictures of a list: a path in every line, after which a tab and a label may follow. Paths are relative to the list's folder.
    ///
    /// - Throws: `DatasetError` with the line that is not of that form, or whose image is not there.
    public init(list: String, imageShape: ImageShape) throws(DatasetError) {
        guard let data = FileManager.default.contents(atPath: list) else {
            throw DatasetError(.missingFile, path: list, "cannot be read")
        }
        guard data.count <= 1 << 30 else { throw DatasetError(.malformedFile, path: list, "has more than 1 GiB") }
        // No path has a zero byte, and hardly a picture, an archive or a network is without.
        guard !data.prefix(1 << 16).contains(0) else {
            throw DatasetError(
                .malformedFile, path: list, "looks like a binary file; expected text with a path in every line")
        }
        let folder = (list as NSString).deletingLastPathComponent
        var paths: [String] = []
        var labels: [Int64] = []
        for (number, line) in String(decoding: data, as: UTF8.self).split(
            omittingEmptySubsequences: false, whereSeparator: \.isNewline
        ).enumerated() where !line.allSatisfy(\.isWhitespace) {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            func fail(_ problem: String) -> DatasetError {
                DatasetError(.malformedFile, path: list, "line \(number + 1) \(problem)")
            }
            guard fields.count <= 2, !fields[0].isEmpty else {
                throw fail("is not a path, or a path, a tab and a label")
            }
            if fields.count == 2 {
                guard let label = Int64(fields[1]), label >= 0 else {
                    throw fail(
                        "has the label \(String(fields[1].prefix(100)).debugDescription), which is not 0 or more")
                }
                labels.append(label)
            }
            guard labels.isEmpty || labels.count == paths.count + 1 else {
                throw fail("\(fields.count == 2 ? "has a label" : "has no label"), unlike the lines before it")
            }
            let path = String(fields[0])
            paths.append(path.hasPrefix("/") || folder.isEmpty ? path : folder + "/" + path)
        }
        guard !paths.isEmpty else { throw DatasetError(.noSamples, path: list, "names no image") }
        try self.init(paths: paths, labels: labels.isEmpty ? nil : labels, imageShape: imageShape, of: list)
    }

    private init(paths: [String], labels: [Int64]?, imageShape: ImageShape, of origin: String) throws(DatasetError) {
        try imageShape.validate()
        var sum: UInt64 = 0
        for (index, path) in paths.enumerated() {
            guard let status = RawPath(path).status, status.isFile else {
                throw DatasetError(.missingFile, path: path, "is not there; \(origin) names it")
            }
            let text = "\(path)\u{0}\(status.st_size)\u{0}\(labels?[index] ?? -1)"
            sum = Array(text.utf8).withUnsafeBytes { ContentFingerprint.of($0, after: sum) }
        }
        (self.paths, self.labels, self.imageShape, fingerprint) = (paths, labels, imageShape, sum)
    }

    public var sampleCount: Int { paths.count }

    public func origin(of index: Int) -> String { paths[index] }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        try ImageDecoder.decode(file: paths[index], index: index, shape: imageShape, into: pixels)
    }

    /// Whether a path is one that `init(folder:)` or `init(list:)` reads, and not a data set with a folder per identity or a record file.
    public static func isFlat(folder: String) -> Bool {
        guard let names = try? RawPath(folder).names() else { return false }
        return !names.contains { RawPath(folder).appending($0).status?.isFolder == true }
            && !names.contains(RawPath("train.rec"))
    }
}
