/// Why a safetensors file could not be read or written.
public struct SafeTensorsError: Error, CustomStringConvertible, Sendable {
    public var path: String
    public var problem: String

    public var description: String { "\(path): \(problem)" }
}
