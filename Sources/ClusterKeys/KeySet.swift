internal import Foundation
internal import ProcessSupport
public import Wire

/// The directory that `coordinator keys` keeps: a directory for every holder.
///
/// Who has it can make keys that the cluster accepts, so it belongs to the administrator alone; holders get their own directory.
public struct KeySet: Sendable {
    public let path: String

    static let coordinatorName = KeyRole.coordinator.rawValue

    /// A holder of the set.
    public struct Holder: Sendable {
        public var role: KeyRole
        public var name: String
        /// What it proves to be: of the coordinator as a server.
        public var key: PublicKey?
        /// Whether servers let it in; nil for the coordinator.
        public var isAccepted: Bool?
        public var directory: String
    }

    /// Opens a set that is there.
    ///
    /// - Throws: `KeyError` if there is none.
    public init(_ path: String) throws {
        self.path = path
        guard KeyStorage.exists("\(path)/\(Self.coordinatorName)/\(KeyDirectory.keyName)") else {
            throw KeyError(
                "\(path) is no key set: it has no \(Self.coordinatorName)/\(KeyDirectory.keyName). `coordinator keys new` makes one"
            )
        }
    }

    /// Makes the keys of a new cluster: of its coordinator, of shard servers, of workers, of an operator and of a reader.
    ///
    /// - Throws: `KeyError` if there is anything at the path, or it cannot be written.
    public static func make(_ path: String) throws -> KeySet {
        if KeyStorage.exists(path) {
            let content = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? ["a file"]
            guard content.isEmpty else {
                throw KeyError("\(path) is not empty: keys are never overwritten. `coordinator keys add` adds to a set")
            }
        } else {
            try KeyStorage.makeDirectory(path)
        }
        let (coordinator, shard) = (try KeyPair.random(), try KeyPair.random())
        var holders = [KeyFile(role: .coordinator, name: coordinatorName, server: coordinator)]
        for role in KeyRole.allCases where role != .coordinator {
            holders.append(
                try holder(
                    role, role.rawValue, coordinator: coordinator.publicKey, shard: shard.publicKey, server: shard))
        }
        for holder in holders {
            try KeyStorage.makeDirectory("\(path)/\(holder.name)")
            try KeyStorage.write(holder.text, to: "\(path)/\(holder.name)/\(KeyDirectory.keyName)")
        }
        let set = try KeySet(path)
        try set.accept(holders.compactMap(\.accepted))
        return set
    }

    private static func holder(
        _ role: KeyRole, _ name: String, coordinator: PublicKey, shard: PublicKey, server: KeyPair?
    ) throws -> KeyFile {
        KeyFile(
            role: role, name: name, own: try .random(), bulk: try .random(), server: role == .shard ? server : nil,
            coordinatorKey: coordinator, shardKey: shard)
    }

    /// Makes the key of one more holder and lets servers accept it.
    ///
    /// - Returns: its directory, and the files `accepted-keys` that have changed.
    /// - Throws: `KeyError` if the name is taken or is none, or a file cannot be read or written.
    public func add(_ role: KeyRole, name: String) throws -> (directory: String, changed: [String]) {
        let name = try KeyName.check(name, of: "\"\(name)\"")
        guard role != .coordinator else {
            throw KeyError("a cluster has one coordinator: make a new key set for another one")
        }
        let directory = "\(path)/\(name)"
        let accepted = try accepted()
        guard !accepted.contains(where: { $0.name == name }), !KeyStorage.exists(directory) else {
            throw KeyError("\(name) is taken: keys are never overwritten. Revoke it first, or choose another name")
        }
        // Any holder but the coordinator knows what the servers' public keys are; a shard server also has the secret one.
        let coordinator = try read(Self.coordinatorName)
        let others = try holderNames().map(read)
        guard let shardServer = others.first(where: { $0.role == .shard })?.server,
            let coordinatorKey = coordinator.server?.publicKey
        else {
            throw KeyError(
                "\(path) has no shard server left whose keys a new holder could be given: make a new key set")
        }
        let file = try Self.holder(
            role, name, coordinator: coordinatorKey, shard: shardServer.publicKey, server: shardServer)
        try KeyStorage.makeDirectory(directory)
        try KeyStorage.write(file.text, to: "\(directory)/\(KeyDirectory.keyName)")
        let changed = try accept(accepted + [file.accepted].compactMap(\.self))
        return (directory, changed)
    }

    /// Lets servers accept a holder no more, and removes its key.
    ///
    /// - Returns: its role, and the files `accepted-keys` that have changed.
    /// - Throws: `KeyError` if there is no such holder, it is the coordinator or the last shard server, or a file cannot be written.
    public func revoke(_ name: String) throws -> (role: KeyRole, changed: [String]) {
        guard name != Self.coordinatorName else {
            throw KeyError("the coordinator's key cannot be revoked: its clients hold it. Make a new key set")
        }
        let accepted = try accepted()
        let isThere = try holderNames().contains(name)
        guard let holder = accepted.first(where: { $0.name == name }) else {
            throw KeyError("\(path) has no holder \"\(name)\"; `coordinator keys list` shows them")
        }
        let shards = accepted.filter { $0.role == .shard }
        guard holder.role != .shard || shards.count > 1 else {
            throw KeyError(
                "\(name) is the last shard server of the set: add another one first, or make a new key set")
        }
        if isThere { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }
        return (holder.role, try accept(accepted.filter { $0.name != name }))
    }

    /// All holders, the coordinator first.
    ///
    /// - Throws: `KeyError` if a file is missing or damaged.
    public func holders() throws -> [Holder] {
        let accepted = try accepted()
        let coordinator = try read(Self.coordinatorName)
        var holders = [
            Holder(
                role: .coordinator, name: coordinator.name, key: coordinator.server?.publicKey, isAccepted: nil,
                directory: "\(path)/\(Self.coordinatorName)")
        ]
        let names = try holderNames()
        for name in names {
            let file = try read(name)
            holders.append(
                Holder(
                    role: file.role, name: name, key: file.own?.publicKey,
                    isAccepted: file.accepted.map(accepted.contains) ?? false, directory: "\(path)/\(name)"))
        }
        // Keys whose holder's directory was moved out of the set.
        for key in accepted where !names.contains(key.name) {
            holders.append(Holder(role: key.role, name: key.name, key: key.key, isAccepted: true, directory: ""))
        }
        return holders
    }

    // MARK: Files

    private func read(_ name: String) throws -> KeyFile { try KeyDirectory("\(path)/\(name)").key }

    /// Names of the directories that have a key, but for the coordinator's.
    private func holderNames() throws -> [String] {
        let names: [String]
        do { names = try FileManager.default.contentsOfDirectory(atPath: path) } catch {
            throw KeyError("\(path) cannot be read: \(SystemProblem.reason(error))")
        }
        return names.filter {
            $0 != Self.coordinatorName && KeyStorage.exists("\(path)/\($0)/\(KeyDirectory.keyName)")
        }.sorted()
    }

    /// What the coordinator accepts.
    private func accepted() throws -> [AcceptedKey] {
        let file = "\(path)/\(Self.coordinatorName)/\(AcceptedKeysFile.name)"
        return try AcceptedKeysFile.keys(
            text: KeyStorage.read(file, secret: false, permissions: .strict), path: file)
    }

    /// Writes the accepted keys of every server of the set.
    @discardableResult
    private func accept(_ keys: [AcceptedKey]) throws -> [String] {
        let text = AcceptedKeysFile.text(keys)
        let servers = try [Self.coordinatorName] + holderNames().filter { try read($0).role == .shard }
        return try servers.map { name in
            let file = "\(path)/\(name)/\(AcceptedKeysFile.name)"
            try KeyStorage.write(text, to: file)
            return file
        }
    }
}
