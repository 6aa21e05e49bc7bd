internal import CKernels
internal import Foundation

/// An InsightFace training set: `train.rec`, `train.idx` and `property`.
///
/// Samples are the image records in ascending order of their key. A record without image bytes (the header record 0 and
/// the identity ranges that InsightFace appends) is not a sample. Without `train.idx` the file is scanned, without
/// `property` the number of classes is one more than the largest label and the shape that of the first image.
public struct RecordDataset: Dataset {
    public let sampleCount: Int
    public let classCount: Int
    public let imageShape: ImageShape
    public let problems: [DatasetError]
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
        let file = try RecordFile(path: recordPath)
        let property = try RecordProperty(path: (directory as NSString).appendingPathComponent("property"))
        var problems = ProblemList(policy: options.badSamples)
        var entries = try RecordIndex.entries(path: stem + ".idx")
        if entries == nil { entries = try RecordIndex.scan(file, problems: &problems) }
        var scan = RecordScan(file: file, classCount: property?.classCount ?? Int(Int32.max))
        try scan.read(entries ?? [], problems: &problems)
        guard !scan.labels.isEmpty else { throw DatasetError(.noSamples, path: recordPath, "has no image record") }
        self.file = file
        keys = scan.keys
        offsets = scan.offsets
        labels = scan.labels
        sampleCount = scan.labels.count
        classCount = property?.classCount ?? Int(scan.labels.max() ?? 0) + 1
        self.problems = problems.problems
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
                    throw error.at(Int(keys[candidate - 1]), path: recordPath)
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

    private static func imageBytes(_ file: RecordFile, _ offset: Int) throws(DatasetError) -> [UInt8] {
        let contents = try file.record(at: offset).contents
        return Array(contents[try ImageRecord(contents).imageStart...])
    }
}

/// Reads the start of every record: labels, and which records are images.
private struct RecordScan {
    private static let headByteCount = 256

    let file: RecordFile
    let classCount: Int
    var keys: [UInt64] = []
    var offsets: [Int] = []
    var labels: [Int32] = []

    init(file: RecordFile, classCount: Int) {
        self.file = file
        self.classCount = classCount
    }

    mutating func read(_ entries: [RecordIndex.Entry], problems: inout ProblemList) throws(DatasetError) {
        keys.reserveCapacity(entries.count)
        offsets.reserveCapacity(entries.count)
        labels.reserveCapacity(entries.count)
        for entry in entries {
            do throws(DatasetError) {
                // Enough for the header, a few labels and a first byte of image; all of it only where there are many labels.
                var contents = try file.record(at: entry.offset, limit: Self.headByteCount).contents
                if contents.count == Self.headByteCount && ImageRecord.imageStart(contents) >= contents.count {
                    contents = try file.record(at: entry.offset).contents
                }
                let record = try ImageRecord(contents)
                if record.imageStart == contents.count { continue }
                labels.append(Int32(try record.label(classCount: classCount)))
                keys.append(entry.key)
                offsets.append(entry.offset)
            } catch {
                try problems.report(error.at(Int(clamping: entry.key), path: file.path))
            }
        }
    }
}
