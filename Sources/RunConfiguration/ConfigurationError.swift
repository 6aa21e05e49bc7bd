/// Why a run configuration cannot be used.
public struct ConfigurationError: Error, CustomStringConvertible, Sendable {
    /// The key, dotted: `head.sample_rate`. Empty for the file as a whole.
    public var key: String
    public var problem: String

    public init(key: String, problem: String) {
        self.key = key
        self.problem = problem
    }

    public var description: String { key.isEmpty ? problem : "\(key): \(problem)" }
}
