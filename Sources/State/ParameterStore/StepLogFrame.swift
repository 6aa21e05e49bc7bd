internal import Foundation
internal import Tensors

/// The fixed part before every record of a log, and the form of what follows.
///
/// Little-endian, 48 bytes: magic `PFCR`, format 1 (u32 each), body length (u64), step, class version (i64 each),
/// length of the JSON (u32), CRC32C of the body (u32), kind (u32, 1 = class operation), CRC32C of the 44 bytes
/// before. The body is the JSON (header, dtypes and shapes), padded with spaces to 8, then the tensors' bytes, each
/// padded with zeros to 8.
struct StepLogFrame {
    static let byteCount = 48
    static let magic: UInt32 = 0x5243_4650
    static let format: UInt32 = 1
    /// A bound on what a damaged length can make us allocate.
    static let bodyLimit = 1 << 36

    var bodyByteCount: Int
    var step: Int
    var classVersion: Int
    var isClasses: Bool
    var jsonByteCount: Int
    var checksum: UInt32

    /// What the JSON of a record says.
    struct Description: Codable {
        var header: LogRecord.Header
        var tensors: [Shape]

        struct Shape: Codable {
            var dtype: UInt8
            var shape: [Int]
        }
    }

    static func padding(_ count: Int) -> Int { (8 - count % 8) % 8 }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        func append(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        append(Self.magic)
        append(Self.format)
        append(UInt64(bodyByteCount))
        append(Int64(step))
        append(Int64(classVersion))
        append(UInt32(jsonByteCount))
        append(checksum)
        append(UInt32(isClasses ? 1 : 0))
        append(Checksum.of(bytes))
        return bytes
    }

    /// The frame in `bytes`, nil if they are none: whatever they are, its checksum tells.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.byteCount else { return nil }
        func value<Value: FixedWidthInteger>(_ type: Value.Type, _ offset: Int) -> Value {
            Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
        }
        let checked = UnsafeRawBufferPointer(rebasing: bytes[..<44])
        guard value(UInt32.self, 0) == Self.magic, value(UInt32.self, 44) == Checksum.of(checked),
            value(UInt32.self, 4) == Self.format, value(UInt64.self, 8) <= UInt64(Self.bodyLimit),
            UInt64(value(UInt32.self, 32)) <= value(UInt64.self, 8)
        else { return nil }
        bodyByteCount = Int(value(UInt64.self, 8))
        step = Int(value(Int64.self, 16))
        classVersion = Int(value(Int64.self, 24))
        jsonByteCount = Int(value(UInt32.self, 32))
        checksum = value(UInt32.self, 36)
        isClasses = value(UInt32.self, 40) == 1
    }

    /// The frame of `record` and its JSON, padded. The tensors' bytes are read once, for the checksum.
    init(_ record: LogRecord, json: inout [UInt8]) throws(CenterStoreError) {
        let description = Description(
            header: record.header,
            tensors: record.tensors.map { .init(dtype: $0.dtype.rawValue, shape: $0.shape) })
        do { json = try [UInt8](JSONEncoder().encode(description)) } catch {
            throw CenterStoreError(.io, "the record of step \(record.header.step) cannot be written: \(error)")
        }
        json.append(contentsOf: [UInt8](repeating: 0x20, count: Self.padding(json.count)))
        var sum = Checksum()
        json.withUnsafeBytes { sum.update($0) }
        bodyByteCount = json.count
        for tensor in record.tensors {
            let count = tensor.byteCount
            withExtendedLifetime(tensor.storage) {
                sum.update(UnsafeRawBufferPointer(start: tensor.rawPointer, count: count))
            }
            Self.zeros.withUnsafeBytes { sum.update(.init(rebasing: $0[..<Self.padding(count)])) }
            bodyByteCount += count + Self.padding(count)
        }
        step = record.header.step
        classVersion = record.header.classVersion
        isClasses = record.header.kind == .classes
        jsonByteCount = json.count
        checksum = sum.value
    }

    static let zeros = [UInt8](repeating: 0, count: 8)

    /// The record in a body whose checksum was right; its tensors share `storage`.
    ///
    /// - Throws: a message, if the body does not fit its own description.
    func record(in storage: TensorStorage) throws -> LogRecord {
        struct Problem: Error { var message: String }
        let json = Data(bytes: storage.base, count: jsonByteCount)
        let description = try JSONDecoder().decode(Description.self, from: json)
        var offset = jsonByteCount
        var tensors: [Tensor] = []
        for entry in description.tensors {
            guard let dtype = DType(rawValue: entry.dtype) else { throw Problem(message: "type \(entry.dtype)") }
            guard let count = TensorSize.product(entry.shape, size: dtype.size), count <= bodyByteCount - offset else {
                throw Problem(message: "shape \(entry.shape)")
            }
            tensors.append(Tensor(dtype: dtype, shape: entry.shape, storage: storage, byteOffset: offset))
            offset += count + Self.padding(count)
        }
        return LogRecord(header: description.header, tensors: tensors)
    }
}
