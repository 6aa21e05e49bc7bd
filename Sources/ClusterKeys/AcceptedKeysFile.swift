internal import Foundation
internal import Wire

/// The file `accepted-keys` of a server: the public keys that it lets in, and who holds them.
public enum AcceptedKeysFile {
    public static let name = "accepted-keys"

    /// The file's content.
    static func text(_ keys: [AcceptedKey]) -> String {
        var lines = [
            "# The keys that servers of this PartialFC cluster let in. Nothing here is secret.",
            "# role name public-key bulk-public-key",
        ]
        lines += keys.map { "\($0.role.rawValue) \($0.name) \($0.key) \($0.bulkKey)" }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Reads the content of a file.
    ///
    /// - Throws: `KeyError` that names the line.
    static func keys(text: String, path: String) throws -> [AcceptedKey] {
        var keys: [AcceptedKey] = []
        for (number, words) in KeyText.lines(text) {
            let place = "\(path), line \(number)"
            guard words.count == 4 else {
                throw KeyError("\(place): expected role, name and two public keys, found \(words.count) words")
            }
            guard let role = KeyRole(rawValue: words[0]), role != .coordinator else {
                throw KeyError("\(place): \(words[0]) is none of shard-server, worker, operator, reader")
            }
            let name = try KeyName.check(words[1], of: place)
            guard let key = PublicKey(words[2]), let bulkKey = PublicKey(words[3]) else {
                throw KeyError("\(place): a public key has 40 characters of Z85")
            }
            guard !keys.contains(where: { $0.name == name || $0.key == key }) else {
                throw KeyError("\(place): \(name) or its key is there twice")
            }
            keys.append(AcceptedKey(role: role, name: name, key: key, bulkKey: bulkKey))
        }
        return keys
    }

    /// The keys of a file, which is read again when it has changed.
    ///
    /// - Parameter own: the server's own key, if whoever has it is let in as well.
    /// - Throws: `KeyError` if it is missing or damaged.
    static func watch(_ path: String, trusted: KeyPermissions, own: AcceptedKey? = nil) throws -> AcceptedKeys {
        let last = LastRead()
        return try AcceptedKeys(own: own) {
            let stamp = try KeyStorage.stamp(path)
            guard last.replace(stamp) else { return nil }
            do {
                return try keys(text: KeyStorage.read(path, secret: false, permissions: trusted), path: path)
            } catch {
                // Looked at again the next time: it may be half written.
                last.forget()
                throw error
            }
        }
    }

    /// What the file was like when it was read.
    private final class LastRead: @unchecked Sendable {
        private let lock = NSLock()
        private var stamp: KeyStorage.Stamp?

        /// Whether it is another one now.
        func replace(_ new: KeyStorage.Stamp) -> Bool {
            lock.withLock {
                defer { stamp = new }
                return stamp != new
            }
        }

        func forget() { lock.withLock { stamp = nil } }
    }
}
