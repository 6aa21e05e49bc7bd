internal import ProcessSupport

/// Why an ONNX file could not be read or written.
public struct ONNXError: Error, CustomStringConvertible, Sendable {
    public let path: String
    /// What was wrong, where, and what to do about it.
    public let problem: String

    /// - Parameter problem: may have names of the file in it: what a terminal would obey is written out.
    public init(path: String, problem: String) {
        self.path = path
        self.problem = problem.printable
    }

    public var description: String { "\(path): \(problem)" }
}
