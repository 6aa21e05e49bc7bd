/// The header of an image record: `flag u32, label f32, id u64, id2 u64`, then `flag` more labels, then the image.
struct ImageRecord {
    /// Bytes before the labels.
    static let headerByteCount = 24
    /// The most labels of one record that are accepted.
    static let maximumLabels: UInt32 = 1 << 20

    var flag: UInt32
    /// The scalar label, or the vector's when `flag` > 0.
    var labels: [Float]
    var id: UInt64
    /// Where the image starts in the record's contents.
    var imageStart: Int

    /// Parses the start of a record.
    ///
    /// - Throws: `DatasetError` if the contents end inside the header or its labels.
    init(_ contents: [UInt8]) throws(DatasetError) {
        guard contents.count >= Self.headerByteCount else {
            throw DatasetError(
                .truncatedRecord,
                "has \(contents.count) bytes, fewer than the \(Self.headerByteCount) of an image header")
        }
        let (flag, scalar, id) = contents.withUnsafeBytes { raw in
            (
                UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self)),
                Float(bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self))),
                UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
        guard flag <= Self.maximumLabels, contents.count - Self.headerByteCount >= 4 * Int(flag) else {
            throw DatasetError(
                .truncatedRecord,
                "announces \(flag) labels but has \(contents.count - Self.headerByteCount) bytes after its header")
        }
        self.flag = flag
        self.id = id
        imageStart = Self.headerByteCount + 4 * Int(flag)
        labels =
            flag == 0
            ? [scalar]
            : contents.withUnsafeBytes { raw in
                (0..<Int(flag)).map {
                    Float(
                        bitPattern: UInt32(
                            littleEndian: raw.loadUnaligned(
                                fromByteOffset: Self.headerByteCount + 4 * $0, as: UInt32.self)))
                }
            }
    }

    /// Where the image of a record with at least a whole header starts, before anything is checked.
    static func imageStart(_ contents: [UInt8]) -> Int {
        headerByteCount + 4 * Int(contents.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)) })
    }

    /// The class: the first label, which must be a whole number in 0..<classCount.
    func label(classCount: Int) throws(DatasetError) -> Int {
        let value = labels[0]
        guard let label = Int(exactly: value), label >= 0, label < classCount else {
            throw DatasetError(.labelOutOfRange, "has label \(value), which is not a whole number in 0..<\(classCount)")
        }
        return label
    }
}
