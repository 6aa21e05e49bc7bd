/// A command of the operator's to the coordinator.
public struct OperatorRequest: Sendable, Equatable {
    public var command: String
    /// At most 256.
    public var arguments: [String: String]

    public init(command: String, arguments: [String: String] = [:]) {
        self.command = command
        self.arguments = arguments
    }
}

/// The answer to an `OperatorRequest`.
public struct OperatorReply: Sendable, Equatable {
    /// What the operator's process exits with, 0 to 255.
    public var exitCode: Int
    /// At most 16 MiB.
    public var json: String

    public init(exitCode: Int, json: String) {
        self.exitCode = exitCode
        self.json = json
    }
}

/// The class operations that were applied.
public struct ClassList: Sendable, Equatable {
    /// How many there are.
    public var version: Int
    /// A JSON array of `ClassOperation`s in the order in which they were applied; at most 16 MiB.
    public var operations: String

    public init(version: Int, operations: String) {
        self.version = version
        self.operations = operations
    }
}
