/// What is wrong with keys: which file, what, and what to do. Never the secret itself.
public struct KeyError: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }
}
