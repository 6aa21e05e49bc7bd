public import Dataset
internal import Foundation

extension VerificationSet {
    /// The largest `.bin` that is read: it is held in memory.
    static let maximumByteCount = 4 << 30

    /// Reads an InsightFace verification set: a pickle of (encoded images, whether pairs are the same), where images 2i and
    /// 2i + 1 form pair i. Lists or tuples of Python 2 strings, Python 3 bytes or NumPy arrays
    /// are read, with bools or the numbers 0 and 1; nothing is executed.
    ///
    /// Pairs are cut into 10 contiguous folds, as the benchmarks are evaluated.
    ///
    /// - Parameter imageShape: the shape that images are converted to.
    /// - Throws: `DatasetError` with the opcode and offset of what is not read, or if images and pairs do not match.
    public init(binPath path: String, imageShape: ImageShape, name: String? = nil) throws(DatasetError) {
        func fail(_ problem: String) -> DatasetError { DatasetError(.malformedFile, path: path, problem) }
        try imageShape.validate()
        guard let size = fileByteCount(path) else { throw DatasetError(.missingFile, path: path, "cannot be read") }
        guard size <= Self.maximumByteCount else {
            throw fail("is \(size) bytes long; at most \(Self.maximumByteCount) are read")
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw DatasetError(.unreadableFile, path: path, "cannot be read")
        }
        var reader = PickleReader([UInt8](data))
        let root: Int32
        do throws(DatasetError) { root = try reader.read() } catch {
            throw fail(error.message)
        }
        guard let parts = reader.items(root) else { throw fail("is not a pair of images and labels") }
        guard parts.count == 2, let imageValues = reader.items(parts[0]) else {
            throw fail("is not a pair of a list of images and a list of bools")
        }
        let same = try Self.bools(reader, parts[1], fail)
        guard imageValues.count == 2 * same.count, !same.isEmpty else {
            throw fail("has \(imageValues.count) images for \(same.count) pairs; two per pair are expected")
        }
        var images = ImageBytes(bytes: reader.bytes)
        for (index, value) in imageValues.enumerated() {
            guard images.append(value, of: reader) else {
                throw DatasetError(.malformedFile, path: path, index: index, "is not the bytes of an image")
            }
        }
        let folds = Self.contiguousFolds(same.count)
        self.init(
            name: name ?? ((path as NSString).lastPathComponent as NSString).deletingPathExtension,
            images: EncodedImages(path: path, bytes: images.bytes, ranges: images.ranges, imageShape: imageShape),
            pairs: same.indices.map {
                VerificationPair(first: 2 * $0, second: 2 * $0 + 1, same: same[$0], fold: folds[$0])
            },
            flips: true, path: path)
    }

    private static func bools(
        _ reader: PickleReader, _ number: Int32, _ fail: (String) -> DatasetError
    ) throws(DatasetError) -> [Bool] {
        var values: [Int?]
        if case .array(let name, _, let inner) = reader[number], let type = ElementType(name) {
            let contents = reader.contents(inner) ?? []
            values = stride(from: contents.startIndex, to: contents.endIndex, by: type.size).map {
                type.integer(contents[$0..<min($0 + type.size, contents.endIndex)])
            }
        } else if let items = reader.items(number) {
            values = items.map { item in
                switch reader[item] {
                case .bool(let value): value ? 1 : 0
                case .integer(let value): value
                case .float(let value): Int(exactly: value)
                default: nil
                }
            }
        } else {
            throw fail("has no list of bools for its pairs")
        }
        for (pair, value) in values.enumerated() where value != 0 && value != 1 {
            throw fail("has a label that is neither a bool nor 0 or 1, for pair \(pair)")
        }
        return values.map { $0 == 1 }
    }
}

extension PickleReader {
    /// The items of a list or a tuple, nil for other values.
    fileprivate func items(_ number: Int32) -> [Int32]? {
        switch self[number] {
        case .tuple(let items), .list(let items): items
        default: nil
        }
    }
}

/// The bytes of the images of a pickle: ranges of the file, and after it what the file does not have as such.
private struct ImageBytes {
    var bytes: [UInt8]
    var ranges: [Range<Int>] = []
    private var decoded: [Int32: Range<Int>] = [:]

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// - Returns: false if the value has no bytes.
    mutating func append(_ value: Int32, of reader: PickleReader) -> Bool {
        var number = value
        if case .array(let type, _, let inner) = reader[value], ElementType(type)?.size == 1 { number = inner }
        guard let contents = reader.contents(number) else { return false }
        if case .decodedBytes = reader[number] {
            if decoded[number] == nil {
                decoded[number] = bytes.count..<bytes.count + contents.count
                bytes.append(contentsOf: contents)
            }
            ranges.append(decoded[number] ?? 0..<0)
        } else {
            ranges.append(contents.startIndex..<contents.endIndex)
        }
        return true
    }
}
