/// Why a run configuration cannot be used.
public struct ConfigurationError: Error, CustomStringConvertible, Sendable {
    /// The key, dotted: `head.sample_rate`. Empty for the file as a whole.
    public var key: String
    /// What was found, and what is wanted.
    public var problem: String
    /// Where it stands: a file with its line, or the setting of a command line; the file alone if nobody wrote the key.
    public var place: String

    public init(key: String, problem: String, place: String = "") {
        self.key = key
        self.problem = problem
        self.place = place
    }

    public var description: String {
        [place, key, problem].filter { !$0.isEmpty }.joined(separator: ": ")
    }
}
