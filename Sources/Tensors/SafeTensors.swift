internal import Foundation

/// A safetensors file: named tensors and string metadata.
///
/// The format is an 8-byte little-endian header length, a JSON header, and the tensors' bytes.
public struct SafeTensors: Sendable {
    public var tensors: [String: Tensor]
    public var metadata: [String: String]

    public init(tensors: [String: Tensor] = [:], metadata: [String: String] = [:]) {
        self.tensors = tensors
        self.metadata = metadata
    }

    /// The longest header that is read: a bound on what a damaged length can make us allocate.
    static let headerByteLimit = 100 << 20

    /// Reads a whole file.
    ///
    /// - Throws: `SafeTensorsError` if the file is missing, truncated, or its header does not fit its contents.
    public init(contentsOf path: String) throws(SafeTensorsError) {
        func fail(_ problem: String) -> SafeTensorsError { SafeTensorsError(path: path, problem: problem) }
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped) } catch {
            throw fail("cannot be read: \(error.localizedDescription)")
        }
        guard data.count >= 8 else { throw fail("is \(data.count) bytes long, shorter than a safetensors header") }
        let length = data.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
        guard length <= UInt64(min(Self.headerByteLimit, data.count - 8)) else {
            throw fail(
                "has a header length of \(length) in a file of \(data.count) bytes: truncated, or not safetensors")
        }
        let start = 8 + Int(length)
        let header: [String: HeaderEntry]
        do { header = try JSONDecoder().decode([String: HeaderEntry].self, from: data[8..<start]) } catch {
            throw fail("has a header that is not safetensors JSON: \(error)")
        }
        tensors = [:]
        metadata = [:]
        for (name, entry) in header {
            switch entry {
            case .metadata(let values): metadata = values
            case .tensor(let dtypeName, let shape, let offsets):
                guard let dtype = DType(safeTensorsName: dtypeName) else {
                    throw fail("tensor \(name) has type \(dtypeName), which is not one of F32, F64, I32, I64, U8")
                }
                var count = dtype.size
                for extent in shape {
                    let (product, overflow) = count.multipliedReportingOverflow(by: extent)
                    guard extent >= 0, !overflow else { throw fail("tensor \(name) has the impossible shape \(shape)") }
                    count = product
                }
                guard offsets.count == 2, offsets[0] >= 0, offsets[1] <= data.count - start, offsets[0] <= offsets[1],
                    offsets[1] - offsets[0] == count
                else {
                    throw fail("tensor \(name) of shape \(shape) does not fit its offsets \(offsets): truncated file?")
                }
                let storage = TensorStorage(byteCount: count)
                data.copyBytes(
                    to: UnsafeMutableRawBufferPointer(start: storage.base, count: count),
                    from: start + offsets[0]..<start + offsets[1])
                tensors[name] = Tensor(dtype: dtype, shape: shape, storage: storage)
            }
        }
    }

    /// The tensor `name`, checked for its type.
    ///
    /// - Throws: `SafeTensorsError` if it is missing or of another type.
    public func tensor(_ name: String, _ dtype: DType, in path: String) throws(SafeTensorsError) -> Tensor {
        guard let tensor = tensors[name] else {
            throw SafeTensorsError(
                path: path, problem: "has no tensor \(name); it has \(tensors.keys.sorted().joined(separator: ", "))")
        }
        guard tensor.dtype == dtype else {
            throw SafeTensorsError(path: path, problem: "tensor \(name) is \(tensor.dtype), expected \(dtype)")
        }
        return tensor
    }

    /// Writes the file under a temporary name beside `path` and renames it, so that no reader sees half of it.
    ///
    /// - Throws: `SafeTensorsError` if the directory cannot be written or the disk is full.
    public func write(to path: String) throws(SafeTensorsError) {
        var header: [String: HeaderEntry] = metadata.isEmpty ? [:] : ["__metadata__": .metadata(metadata)]
        var offset = 0
        let ordered = tensors.sorted { $0.key < $1.key }
        for (name, tensor) in ordered {
            header[name] = .tensor(
                dtype: tensor.dtype.safeTensorsName, shape: tensor.shape, offsets: [offset, offset + tensor.byteCount])
            offset += tensor.byteCount
        }
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            var json = try encoder.encode(header)
            json.append(contentsOf: [UInt8](repeating: 0x20, count: (8 - json.count % 8) % 8))
            var data = Data(capacity: 8 + json.count + offset)
            withUnsafeBytes(of: UInt64(json.count).littleEndian) { data.append(contentsOf: $0) }
            data.append(json)
            for (_, tensor) in ordered {
                data.append(tensor.rawPointer.assumingMemoryBound(to: UInt8.self), count: tensor.byteCount)
            }
            try data.write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw SafeTensorsError(path: path, problem: "cannot be written: \(error.localizedDescription)")
        }
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

    var safeTensorsName: String {
        switch self {
        case .f32: "F32"
        case .f64: "F64"
        case .i32: "I32"
        case .i64: "I64"
        case .u8: "U8"
        }
    }
}
