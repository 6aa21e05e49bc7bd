public import ArgumentParser
internal import ProcessSupport
public import Wire

extension Encryption: ExpressibleByArgument {}

/// The options of every process that has keys.
public struct KeyOptions: ParsableArguments {
    @Option(
        help: """
            The directory of this process's keys, one of those that `coordinator keys new` makes. Without it nothing is encrypted \
            and nobody is asked who he is (environment: PARTIALFC_KEYS).
            """,
        completion: .directory)
    public var keys: String?

    @Option(
        help: """
            With keys: all, or control to leave tensors between workers and shards in the clear, on a private network. All \
            processes of a cluster must say the same (environment: PARTIALFC_ENCRYPT).
            """)
    public var encrypt: Encryption?

    public init() {}

    /// What the command line says, or else the environment.
    private var directory: String? { keys ?? EnvironmentDefaults.text("PARTIALFC_KEYS") }

    private var encryption: Encryption? {
        encrypt ?? EnvironmentDefaults.choice("PARTIALFC_ENCRYPT", of: Encryption.self)
    }

    private var permissions: KeyPermissions {
        EnvironmentDefaults.choice("PARTIALFC_KEYS_PERMISSIONS", of: KeyPermissions.self) ?? .strict
    }

    public func validate() throws {
        // Whether or not the command line says the same: what is wrong in the environment is said.
        _ = EnvironmentDefaults.choice("PARTIALFC_ENCRYPT", of: Encryption.self)
        _ = permissions
        if let problem = EnvironmentDefaults.problems.first { throw ValidationError(problem) }
        if directory == nil, let encryption {
            throw ValidationError("--encrypt \(encryption.rawValue) needs keys: nothing is encrypted without --keys")
        }
    }

    /// How the process secures its sockets.
    ///
    /// - Parameter roles: what the process can be.
    /// - Throws: `KeyError` if the keys cannot be used.
    public func security(as roles: KeyRole...) throws -> ClusterSecurity {
        guard let directory else { return .none }
        return try KeyDirectory(directory, permissions: permissions).security(as: roles, encryption: encryption ?? .all)
    }
}
