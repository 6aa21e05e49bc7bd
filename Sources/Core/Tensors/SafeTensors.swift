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

    /// Reads a whole file.
    ///
    /// - Throws: `SafeTensorsError` if the file is missing, truncated, or its header does not fit its contents.
    public init(contentsOf path: String) throws(SafeTensorsError) {
        let file = try SafeTensorsFile(path)
        metadata = file.metadata
        tensors = [:]
        for (name, entry) in file.entries { tensors[name] = try file.tensor(entry) }
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
        let ordered = tensors.sorted { $0.key < $1.key }
        let writer = try SafeTensorsWriter(
            path, tensors: ordered.map { .init($0.key, $0.value.dtype, $0.value.shape) }, metadata: metadata)
        for (_, tensor) in ordered {
            try unsafe tensor.withBytes { bytes throws(SafeTensorsError) in try unsafe writer.append(bytes) }
        }
        try writer.finish()
    }
}
