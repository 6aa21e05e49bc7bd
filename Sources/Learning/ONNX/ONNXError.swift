/// Why an ONNX file could not be read or written.
public struct ONNXError: Error, CustomStringConvertible, Sendable {
    public let path: String
    /// What was wrong, where, and what to do about it.
    public let problem: String

    public var description: String { "\(path): \(problem)" }
}
