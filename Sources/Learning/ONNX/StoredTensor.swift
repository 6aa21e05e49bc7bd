internal import COnnx
internal import Foundation
internal import Tensors

/// A tensor of the file, whose elements are read when they are needed.
struct StoredTensor {
    enum Kind: Int32 {
        case float = 1
        case uint8 = 2
        case int8 = 3
        case int32 = 6
        case int64 = 7
        case float16 = 10
        case double = 11
        case bfloat16 = 16

        var size: Int {
            switch self {
            case .uint8, .int8: 1
            case .float16, .bfloat16: 2
            case .float, .int32: 4
            case .int64, .double: 8
            }
        }
        /// Whether shapes are made of them.
        var isInteger: Bool { self == .int32 || self == .int64 }
    }

    /// Keeps the C structs alive.
    let message: ModelMessage
    let proto: Onnx__TensorProto
    let name: String
    let kind: Kind
    let shape: [Int]
    let count: Int

    init(_ proto: Onnx__TensorProto, name: String, of message: ModelMessage) throws {
        self.message = message
        self.proto = proto
        self.name = name
        guard let kind = Kind(rawValue: proto.data_type) else {
            throw Problem(
                "tensor \(name): elements of type \(proto.data_type); float, double, float16, bfloat16, uint8, int8, int32 and int64 are read"
            )
        }
        self.kind = kind
        shape = array(proto.dims, proto.n_dims).map { Int($0) }
        guard shape.count <= 8, let count = TensorSize.product(shape, limit: (1 << 31) - 1) else {
            throw Problem("tensor \(name): its extents are negative, too many or too large")
        }
        self.count = count
        guard isExternal || storedCount == count else {
            throw Problem("tensor \(name) of \(shape) has \(storedCount) elements")
        }
    }

    /// A text that is kept with the tensor.
    var note: String { string(proto.doc_string) }

    private var isExternal: Bool { proto.has_data_location != 0 && proto.data_location == 1 }

    private var storedCount: Int {
        if proto.has_raw_data != 0 {
            return proto.raw_data.len % kind.size == 0 ? proto.raw_data.len / kind.size : -1
        }
        return switch kind {
        case .float: proto.n_float_data
        case .int32, .float16, .bfloat16, .uint8, .int8: proto.n_int32_data
        case .int64: proto.n_int64_data
        case .double: proto.n_double_data
        }
    }

    func floats() throws -> [Float] {
        if let bytes = try rawBytes() {
            return bytes.withUnsafeBytes { raw in
                (0..<count).map { element in
                    let offset = element * kind.size
                    return switch kind {
                    case .float: raw.loadUnaligned(fromByteOffset: offset, as: Float.self)
                    case .double: Float(raw.loadUnaligned(fromByteOffset: offset, as: Double.self))
                    case .float16: Float(raw.loadUnaligned(fromByteOffset: offset, as: Float16.self))
                    case .bfloat16:
                        Float(bitPattern: UInt32(raw.loadUnaligned(fromByteOffset: offset, as: UInt16.self)) << 16)
                    case .uint8: Float(raw[offset])
                    case .int8: Float(Int8(bitPattern: raw[offset]))
                    case .int32: Float(raw.loadUnaligned(fromByteOffset: offset, as: Int32.self))
                    case .int64: Float(raw.loadUnaligned(fromByteOffset: offset, as: Int64.self))
                    }
                }
            }
        }
        let words = array(proto.int32_data, proto.n_int32_data)
        return switch kind {
        case .float: Array(array(proto.float_data, proto.n_float_data))
        case .double: array(proto.double_data, proto.n_double_data).map { Float($0) }
        case .float16: words.map { Float(Float16(bitPattern: UInt16(truncatingIfNeeded: $0))) }
        case .bfloat16: words.map { Float(bitPattern: UInt32(UInt16(truncatingIfNeeded: $0)) << 16) }
        case .int32: words.map { Float($0) }
        case .uint8: words.map { Float(UInt8(truncatingIfNeeded: $0)) }
        case .int8: words.map { Float(Int8(truncatingIfNeeded: $0)) }
        case .int64: array(proto.int64_data, proto.n_int64_data).map { Float($0) }
        }
    }

    func integers() throws -> [Int] {
        guard kind.isInteger else { throw Problem("tensor \(name): integers are needed") }
        if let bytes = try rawBytes() {
            return bytes.withUnsafeBytes { raw in
                (0..<count).map {
                    kind == .int32
                        ? Int(raw.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
                        : Int(raw.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self))
                }
            }
        }
        return kind == .int32
            ? array(proto.int32_data, proto.n_int32_data).map { Int($0) }
            : array(proto.int64_data, proto.n_int64_data).map { Int($0) }
    }

    /// The bytes of `raw_data` or of another file; nil if the elements stand in a field of their type.
    private func rawBytes() throws -> Data? {
        if isExternal { return try externalBytes() }
        guard proto.has_raw_data != 0 else { return nil }
        guard let start = proto.raw_data.data else { return Data() }
        return Data(bytesNoCopy: start, count: proto.raw_data.len, deallocator: .none)
    }

    /// Reads from a file in the model's folder, and from nowhere else.
    private func externalBytes() throws -> Data {
        var fields: [String: String] = [:]
        for entry in array(proto.external_data, proto.n_external_data) {
            if let entry { fields[string(entry.pointee.key)] = string(entry.pointee.value) }
        }
        func fail(_ problem: String) -> Problem { Problem("tensor \(name), external data: \(problem)") }
        guard let location = fields["location"], !location.isEmpty else { throw fail("no location") }
        guard !location.hasPrefix("/"), !location.split(separator: "/").contains("..") else {
            throw fail("\(location) is not in the model's folder")
        }
        let folder = URL(fileURLWithPath: message.path).deletingLastPathComponent().resolvingSymlinksInPath()
        let file = folder.appendingPathComponent(location).resolvingSymlinksInPath()
        guard file.path.hasPrefix(folder.path == "/" ? "/" : folder.path + "/") else {
            throw fail("\(location) is not in the model's folder")
        }
        guard let type = try? FileManager.default.attributesOfItem(atPath: file.path)[.type] as? FileAttributeType,
            type == .typeRegular, let handle = try? FileHandle(forReadingFrom: file),
            let size = try? handle.seekToEnd()
        else { throw fail("\(location) cannot be read") }
        defer { try? handle.close() }
        let byteCount = count * kind.size
        guard let offset = UInt64(fields["offset"] ?? "0"), let length = Int(fields["length"] ?? "\(byteCount)"),
            length == byteCount, offset <= size, UInt64(byteCount) <= size - offset
        else {
            throw fail("\(byteCount) bytes from \(fields["offset"] ?? "0") are not in \(location) of \(size) bytes")
        }
        guard (try? handle.seek(toOffset: offset)) != nil, let bytes = try? handle.read(upToCount: byteCount) ?? Data(),
            bytes.count == byteCount
        else { throw fail("\(location) cannot be read") }
        return bytes
    }
}
