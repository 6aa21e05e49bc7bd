internal import CKernels
internal import Foundation

/// An InsightFace training set: `train.rec`, `train.idx` and `property`.
///
/// Samples are the image records in ascending order of their key, or of their position where keys repeat. A record without
/// image bytes (the header record 0 and the identity ranges that InsightFace appends) is not a sample. The records are
/// found by walking through the file; `train.idx` gives them their keys, the headers do where it does not. Without
/// `property` the number of classes is one more than the largest label and the shape that of the first image.
public struct RecordDataset: ImageDataset {
    public let sampleCount: Int
    public let classCount: Int
    public let imageShape: ImageShape
    public let opening: OpeningReport
    public let fingerprint: UInt64
    private let file: RecordFile
    private let keys: [UInt64]
    private let offsets: [Int]
    private let labels: [Int32]

    /// Opens the set in `directory` (with `train.rec` in it), or the `.rec` file itself.
    ///
    /// Reads the start of every record: labels and lengths are checked here, images when they are decoded.
    ///
    /// - Throws: `DatasetError` if a file is missing or malformed, and on the first bad record unless those are skipped.
    public init(path: String, options: DatasetOptions = .init()) throws(DatasetError) {
        let recordPath = path.hasSuffix(".rec") ? path : path + "/train.rec"
        let stem = String(recordPath.dropLast(4))
        let directory = (recordPath as NSString).deletingLastPathComponent
        let file: RecordFile
        do throws(DatasetError) { file = try RecordFile(path: recordPath) } catch {
            throw error.code == .missingFile ? Self.missing(error, directory) : error
        }
        let property = try RecordProperty(path: (directory as NSString).appendingPathComponent("property"))
        var scan = RecordScan(
            file: file, classCount: property?.classCount ?? Int(Int32.max), policy: options.badSamples)
        try scan.run(index: try RecordIndex.entries(path: stem + ".idx"), indexPath: stem + ".idx")
        guard !scan.labels.isEmpty else {
            throw DatasetError(
                .noSamples, path: recordPath,
                "has no image record" + scan.problems.report.lines.map { "; " + $0 }.joined())
        }
        self.file = file
        (keys, offsets, labels) = (scan.keys, scan.offsets, scan.labels)
        sampleCount = scan.labels.count
        classCount = property?.classCount ?? Int(scan.labels.max() ?? 0) + 1
        opening = scan.problems.report
        var shape = options.imageShape ?? property?.imageShape
        var candidate = 0
        while shape == nil {
            do throws(DatasetError) {
                shape = try Self.imageBytes(file, offsets[candidate]).withBytes { bytes throws(DatasetError) in
                    try ImageDecoder.shape(of: bytes)
                }
            } catch {
                candidate += 1
                if options.badSamples == .fatal || candidate == offsets.count {
                    throw error.at(Int(clamping: keys[candidate - 1]), path: recordPath)
                }
            }
        }
        imageShape = shape ?? ImageShape(channels: 3, height: 112, width: 112)
        try imageShape.validate()
        var sum = UInt64(file.byteCount)
        sum = labels.withUnsafeBytes { pfc_image_checksum(sum, $0.baseAddress, $0.count) }
        sum = offsets.withUnsafeBytes { pfc_image_checksum(sum, $0.baseAddress, $0.count) }
        fingerprint = sum
    }

    public var problems: [DatasetError] { opening.problems }

    public func label(of index: Int) -> Int { Int(labels[index]) }

    /// The key of the record of sample `index`.
    public func recordKey(of index: Int) -> UInt64 { keys[index] }

    public func origin(of index: Int) -> String { "\(file.path) record \(keys[index])" }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        do throws(DatasetError) {
            try Self.imageBytes(file, offsets[index]).withBytes { bytes throws(DatasetError) in
                try ImageDecoder.decode(bytes, shape: imageShape, into: pixels)
            }
        } catch { throw error.at(Int(clamping: keys[index]), path: file.path) }
    }

    /// The error for a missing file, with what is there instead.
    private static func missing(_ error: DatasetError, _ directory: String) -> DatasetError {
        guard let names = try? RawPath(directory).names() else { return error }
        var error = error
        if let other = names.first(where: { $0.fileExtension == "rec" }) {
            error.message += "; \(directory) has \(other): name that file"
        } else if names.contains(where: { RawPath(directory).appending($0).status?.isFolder == true }) {
            error.message += "; \(directory) has folders: if they hold an identity's images each, that is kind folder"
        }
        return error
    }

    private static func imageBytes(_ file: RecordFile, _ offset: Int) throws(DatasetError) -> [UInt8] {
        let contents = try file.record(at: offset).contents
        return Array(contents[try ImageRecord(contents).imageStart...])
    }
}
