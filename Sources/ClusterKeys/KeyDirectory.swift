public import Wire

/// The directory of one holder: its file `key`, and of a server also `accepted-keys`.
public struct KeyDirectory: Sendable {
    public let path: String
    public let key: KeyFile
    private let permissions: KeyPermissions

    static let keyName = "key"

    /// Reads the holder's key.
    ///
    /// - Throws: `KeyError` if it is missing, damaged, or others may read it.
    public init(_ path: String, permissions: KeyPermissions = .strict) throws {
        self.path = path
        self.permissions = permissions
        let file = "\(path)/\(Self.keyName)"
        if !KeyStorage.exists(file), KeyStorage.exists("\(path)/\(KeySet.coordinatorName)/\(Self.keyName)") {
            throw KeyError(
                "\(path) is a whole key set: name the directory of one holder in it, such as \(path)/\(KeySet.coordinatorName)"
            )
        }
        key = try KeyFile(text: KeyStorage.read(file, secret: true, permissions: permissions), path: file)
    }

    var acceptedPath: String { "\(path)/\(AcceptedKeysFile.name)" }

    /// How the holder secures its sockets.
    ///
    /// - Parameters:
    ///   - roles: what the process can be.
    ///   - encryption: whether bulk traffic is encrypted.
    /// - Throws: `KeyError` if the key is of another role, or the accepted keys of a server cannot be read.
    public func security(as roles: [KeyRole], encryption: Encryption) throws -> ClusterSecurity {
        guard roles.contains(key.role) else {
            let wanted = roles.map(\.rawValue).joined(separator: " or ")
            throw KeyError("\(path) has the key of \(key.role.rawValue) \"\(key.name)\"; this needs that of \(wanted)")
        }
        var security = ClusterSecurity.none
        if let server = key.server {
            // A coordinator and its standby have the same key.
            let own: AcceptedKey? =
                key.role == .coordinator
                ? AcceptedKey(role: .coordinator, name: key.name, key: server.publicKey, bulkKey: server.publicKey)
                : nil
            let accepted = try AcceptedKeysFile.watch(acceptedPath, trusted: permissions, own: own)
            security.server =
                key.role == .shard && encryption == .control
                ? .shown(accepted) : .encrypted(server.secretKey, accepted)
            if key.role == .coordinator { security.coordinator = .encrypted(server, server: server.publicKey) }
        }
        if let own = key.own, let bulk = key.bulk, let coordinatorKey = key.coordinatorKey, let shardKey = key.shardKey
        {
            security.coordinator = .encrypted(own, server: coordinatorKey)
            security.shards =
                switch encryption {
                case .all: .encrypted(own, server: shardKey)
                case .control: .shown(own.publicKey, bulkSecret: bulk.secretKey)
                }
        }
        return security
    }
}
