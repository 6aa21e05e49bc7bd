public import Wire

/// The file `key` of a holder: who it is, its secrets, and the public keys of the servers that it connects to.
public struct KeyFile: Sendable {
    public var role: KeyRole
    /// Distinct in a cluster.
    public var name: String
    /// What it proves to servers to be; nil for the coordinator, which connects to nobody.
    public var own: KeyPair?
    /// What it shows instead where bulk traffic is not encrypted; nil for the coordinator.
    public var bulk: KeyPair?
    /// What it proves to clients to be; nil for who serves nobody. All shard servers of a cluster have the same.
    public var server: KeyPair?
    /// What the coordinator proves to be; nil for the coordinator itself.
    public var coordinatorKey: PublicKey?
    /// What shard servers prove to be; nil for the coordinator.
    public var shardKey: PublicKey?

    private static let version = "1"

    /// The key of a new holder.
    public init(
        role: KeyRole, name: String, own: KeyPair? = nil, bulk: KeyPair? = nil, server: KeyPair? = nil,
        coordinatorKey: PublicKey? = nil, shardKey: PublicKey? = nil
    ) {
        self.role = role
        self.name = name
        self.own = own
        self.bulk = bulk
        self.server = server
        self.coordinatorKey = coordinatorKey
        self.shardKey = shardKey
    }

    /// What servers are told to accept; nil for the coordinator.
    public var accepted: AcceptedKey? {
        guard let own, let bulk else { return nil }
        return AcceptedKey(role: role, name: name, key: own.publicKey, bulkKey: bulk.publicKey)
    }

    /// The file's content.
    var text: String {
        var lines = [
            "# The keys of \(role.rawValue) \"\(name)\" in a PartialFC cluster. SECRET: whoever reads this file can be this \(role.rawValue).",
            "version \(Self.version)", "role \(role.rawValue)", "name \(name)",
        ]
        for (what, pair) in [("own", own), ("bulk", bulk), ("server", server)] {
            guard let pair else { continue }
            lines.append("\(what)-public-key \(pair.publicKey)")
            lines.append("\(what)-secret-key \(pair.secretKey.text)")
        }
        if let coordinatorKey { lines.append("coordinator-public-key \(coordinatorKey)") }
        if let shardKey { lines.append("shard-server-public-key \(shardKey)") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Reads the content of a file.
    ///
    /// - Parameter path: for messages.
    /// - Throws: `KeyError` that names the line, and never a secret.
    init(text: String, path: String) throws {
        var fields: [String: String] = [:]
        for (number, words) in KeyText.lines(text) {
            guard words.count == 2 else {
                throw KeyError("\(path), line \(number): expected a name and a value, found \(words.count) words")
            }
            guard Self.names.contains(words[0]) else {
                // What stands there may be a part of a secret.
                throw KeyError("\(path), line \(number): does not begin with the name of a value that is known here")
            }
            guard fields.updateValue(words[1], forKey: words[0]) == nil else {
                throw KeyError("\(path), line \(number): \(words[0]) is there twice")
            }
        }
        func field(_ name: String) throws -> String {
            guard let value = fields[name] else {
                throw KeyError("\(path): \(name) is missing: the file is damaged or none that `coordinator keys` made")
            }
            return value
        }
        let version = try field("version")
        guard version == Self.version else {
            throw KeyError("\(path): is of version \(version), this program reads version \(Self.version)")
        }
        guard let role = KeyRole(rawValue: try field("role")) else {
            let known = KeyRole.allCases.map(\.rawValue).joined(separator: ", ")
            throw KeyError("\(path): role is none of \(known)")
        }
        func publicKey(_ name: String) throws -> PublicKey {
            guard let key = PublicKey(try field(name)) else {
                throw KeyError("\(path): \(name) is no key, which has 40 characters: the file is damaged")
            }
            return key
        }
        func pair(_ name: String) throws -> KeyPair {
            guard let secret = SecretKey(try field("\(name)-secret-key")) else {
                throw KeyError("\(path): \(name)-secret-key is no key, which has 40 characters: the file is damaged")
            }
            let pair = try KeyPair(secretKey: secret)
            guard try publicKey("\(name)-public-key") == pair.publicKey else {
                throw KeyError(
                    "\(path): \(name)-public-key and \(name)-secret-key do not belong together: the file is damaged")
            }
            return pair
        }
        self.role = role
        name = try KeyName.check(try field("name"), of: path)
        if role == .coordinator {
            server = try pair("server")
        } else {
            own = try pair("own")
            bulk = try pair("bulk")
            coordinatorKey = try publicKey("coordinator-public-key")
            shardKey = try publicKey("shard-server-public-key")
        }
        if role == .shard { server = try pair("server") }
    }

    private static let names: Set<String> = [
        "version", "role", "name", "own-public-key", "own-secret-key", "bulk-public-key", "bulk-secret-key",
        "server-public-key", "server-secret-key", "coordinator-public-key", "shard-server-public-key",
    ]
}

/// Names of holders, which name directories too.
enum KeyName {
    /// - Throws: `KeyError` for a name that is none.
    static func check(_ name: String, of what: String) throws -> String {
        let allowed = Set("abcdefghijklmnopqrstuvwxyz0123456789-")
        guard (1...64).contains(name.count), name.allSatisfy(allowed.contains), !name.hasPrefix("-") else {
            throw KeyError(
                "\(what): a name has 1 to 64 small letters, digits and hyphens, and does not begin with a hyphen")
        }
        return name
    }
}
