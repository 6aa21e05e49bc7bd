internal import Foundation

/// The header of a safetensors file: an 8-byte little-endian length, then JSON that says where each tensor lies.
struct SafeTensorsHeader {
    var tensors: [String: SafeTensorsFile.Entry] = [:]
    /// Tensors of types that `DType` does not have.
    var others: [String: SafeTensorsFile.OtherEntry] = [:]
    var metadata: [String: String] = [:]

    /// The longest header that is read: a bound on what a damaged length can make us allocate.
    static let byteLimit = 100 << 20

    /// Bytes per element of the types that are read, but that no tensor in memory has.
    private static let otherSizes = ["F16": 2, SafeTensorsFile.signedByteType: 1]

    /// The length of the JSON, from the first bytes of a file.
    static func length(_ bytes: [UInt8], fileByteCount: Int, path: String) throws(SafeTensorsError) -> Int {
        func fail(_ problem: String) -> SafeTensorsError { SafeTensorsError(path: path, problem: problem) }
        guard bytes.count >= 8 else { throw fail("is \(bytes.count) bytes long, shorter than a safetensors header") }
        let length = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        if bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) || bytes.starts(with: [0x80, 0x02, 0x8A, 0x0A]) {
            throw fail(
                "is a file of torch.save, not safetensors: write the state_dict with safetensors.torch.save_file")
        }
        guard length <= UInt64(min(byteLimit, fileByteCount - 8)) else {
            throw fail(
                "has a header length of \(length) in a file of \(fileByteCount) bytes: truncated, or not safetensors")
        }
        return Int(length)
    }

    /// Checks that every tensor lies inside the file.
    init(json: Data, fileByteCount: Int, path: String) throws(SafeTensorsError) {
        func fail(_ problem: String) -> SafeTensorsError { SafeTensorsError(path: path, problem: problem) }
        let start = 8 + json.count
        let entries: [String: HeaderEntry]
        do { entries = try JSONDecoder().decode([String: HeaderEntry].self, from: json) } catch {
            throw fail("has a header that is not safetensors JSON: \(error)")
        }
        for (name, entry) in entries {
            switch entry {
            case .metadata(let values): metadata = values
            case .tensor(let dtypeName, let shape, let offsets):
                guard offsets.count == 2, offsets[0] >= 0, offsets[1] <= fileByteCount - start,
                    offsets[0] <= offsets[1]
                else {
                    throw fail("tensor \(name) of shape \(shape) does not fit its offsets \(offsets): truncated file?")
                }
                let range = start + offsets[0]..<start + offsets[1]
                let dtype = DType(safeTensorsName: dtypeName)
                // The size of an element of a type that is not known here is taken as it comes.
                let size = dtype?.size ?? Self.otherSizes[dtypeName]
                guard let count = TensorSize.product(shape, size: size ?? 0) else {
                    throw fail("tensor \(name) has the impossible shape \(shape)")
                }
                guard range.count == count || size == nil else {
                    throw fail("tensor \(name) of shape \(shape) does not fit its offsets \(offsets): truncated file?")
                }
                if let dtype {
                    tensors[name] = SafeTensorsFile.Entry(dtype: dtype, shape: shape, bytes: range)
                } else {
                    others[name] = SafeTensorsFile.OtherEntry(type: dtypeName, shape: shape, bytes: range)
                }
            }
        }
    }

    /// Everything before the first tensor's bytes, for tensors that follow each other in this order.
    static func encode(_ tensors: [SafeTensorsWriter.Description], metadata: [String: String]) throws -> Data {
        var entries: [String: HeaderEntry] = metadata.isEmpty ? [:] : ["__metadata__": .metadata(metadata)]
        var offset = 0
        for tensor in tensors {
            entries[tensor.name] = .tensor(
                dtype: tensor.typeName, shape: tensor.shape, offsets: [offset, offset + tensor.byteCount])
            offset += tensor.byteCount
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        var json = try encoder.encode(entries)
        json.append(contentsOf: [UInt8](repeating: 0x20, count: (8 - json.count % 8) % 8))
        var data = Data()
        unsafe withUnsafeBytes(of: UInt64(json.count).littleEndian) { unsafe data.append(contentsOf: $0) }
        return data + json
    }
}

/// One entry of the header: the metadata map, or a tensor's description.
private enum HeaderEntry: Codable {
    case metadata([String: String])
    case tensor(dtype: String, shape: [Int], offsets: [Int])

    private enum Keys: String, CodingKey {
        case dtype
        case shape
        case offsets = "data_offsets"
    }

    init(from decoder: any Decoder) throws {
        if let fields = try? decoder.container(keyedBy: Keys.self), fields.contains(.offsets) {
            self = .tensor(
                dtype: try fields.decode(String.self, forKey: .dtype),
                shape: try fields.decode([Int].self, forKey: .shape),
                offsets: try fields.decode([Int].self, forKey: .offsets))
        } else {
            self = .metadata(try decoder.singleValueContainer().decode([String: String].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        switch self {
        case .metadata(let values):
            var container = encoder.singleValueContainer()
            try container.encode(values)
        case .tensor(let dtype, let shape, let offsets):
            var fields = encoder.container(keyedBy: Keys.self)
            try fields.encode(dtype, forKey: .dtype)
            try fields.encode(shape, forKey: .shape)
            try fields.encode(offsets, forKey: .offsets)
        }
    }
}

extension DType {
    init?(safeTensorsName name: String) {
        guard let match = Self.allCases.first(where: { $0.safeTensorsName == name }) else { return nil }
        self = match
    }

    /// The type's name in a safetensors file.
    package var safeTensorsName: String {
        switch self {
        case .f32: "F32"
        case .f64: "F64"
        case .i32: "I32"
        case .i64: "I64"
        case .u8: "U8"
        case .bf16: "BF16"
        }
    }
}
