/// A folder per identity: `root/identity/image`, in any of the formats of `ImageDecoder`.
///
/// Folders with at least one image are the classes, in order of their names (by bytes); images follow in the same order
/// within their folder. A file is an image by its ending, or else by its first bytes. Everything else is counted and named
/// in `opening`.
public struct FolderDataset: ImageDataset {
    public let imageShape: ImageShape
    public let opening: OpeningReport
    public let fingerprint: UInt64
    public let formerFingerprint: UInt64?
    /// The folder name of each class.
    public let classNames: [String]
    private let root: RawPath
    private let folders: [RawPath]
    private let files: [RawPath]
    private let labels: [Int32]

    /// Lists the images below `root`. They are opened when they are decoded, except the first, whose shape is taken unless
    /// the options give one.
    ///
    /// - Throws: `DatasetError` if the folder cannot be listed or has no images, or the first image is bad.
    public init(root: String, options: DatasetOptions = .init()) throws(DatasetError) {
        var scan = FolderScan(root: root, policy: options.badSamples)
        try scan.run()
        let opening = scan.problems.report
        guard !scan.files.isEmpty else {
            let found = opening.lines + opening.hints
            throw DatasetError(
                .noSamples, path: root,
                "has no images: expected folders, one per identity, with files of \(ImageDecoder.formats)"
                    + found.map { "; " + $0 }.joined())
        }
        self.root = RawPath(root)
        self.opening = opening
        (folders, files, labels) = (scan.folders, scan.files, scan.labels)
        (fingerprint, formerFingerprint) = (scan.fingerprint, scan.formerFingerprint)
        classNames = scan.folders.map(\.description)
        if let shape = options.imageShape {
            imageShape = shape
        } else {
            imageShape = try Self.firstShape(files.count, policy: options.badSamples) { [root = self.root] in
                root.appending(scan.folders[Int(scan.labels[$0])]).appending(scan.files[$0])
            }
        }
        try imageShape.validate()
    }

    public var sampleCount: Int { files.count }
    public var classCount: Int { folders.count }
    public var problems: [DatasetError] { opening.problems }

    public func label(of index: Int) -> Int { Int(labels[index]) }

    public func origin(of index: Int) -> String { path(of: index).description }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        try ImageDecoder.decode(file: path(of: index), index: index, shape: imageShape, into: pixels)
    }

    private func path(of index: Int) -> RawPath { root.appending(folders[Int(labels[index])]).appending(files[index]) }

    private static func firstShape(
        _ count: Int, policy: BadSamplePolicy, path: (Int) -> RawPath
    ) throws(DatasetError) -> ImageShape {
        var first: DatasetError?
        for index in 0..<count {
            do throws(DatasetError) {
                return try ImageDecoder.contents(of: path(index)).withBytes { raw throws(DatasetError) in
                    try ImageDecoder.shape(of: raw)
                }
            } catch {
                first = first ?? error.at(index, path: path(index).description)
                if policy == .fatal { break }
            }
        }
        throw first ?? DatasetError(.noSamples, "there is no image")
    }
}
