public import ClusterKeys
public import Foundation
public import Wire

/// The keys of a cluster on this machine.
public struct LocalKeys: Sendable {
    /// The key set.
    public let directory: URL
    public let encryption: Encryption

    /// Makes a key set, or takes one that is there.
    ///
    /// - Throws: `KeyError` if it cannot be made.
    public init(_ directory: URL, encryption: Encryption = .all) throws {
        self.directory = directory
        self.encryption = encryption
        if !FileManager.default.fileExists(atPath: directory.path) { _ = try KeySet.make(directory.path) }
    }

    /// Options that give a process the keys of a holder.
    public func arguments(_ holder: String) -> [String] {
        ["--keys", directory.appending(path: holder).path, "--encrypt", encryption.rawValue]
    }

    /// How a process of this program secures its sockets with the keys of a holder.
    ///
    /// - Throws: `KeyError` if the keys cannot be read or are of another role.
    public func security(_ holder: String, as role: KeyRole) throws -> ClusterSecurity {
        try KeyDirectory(directory.appending(path: holder).path).security(as: [role], encryption: encryption)
    }
}
