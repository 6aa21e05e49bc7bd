import ClusterKeys
import Foundation
import TestSupport
import Testing
import Wire

/// Key sets on disk: who gets what, and what is said of files that cannot be used.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct KeySetTests {
    private func withSet(_ body: (_ set: KeySet, _ path: String) throws -> Void) throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "keys-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(KeySet.make(path), path)
    }

    private func mode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    /// The secrets in a file.
    private func secrets(_ path: String) throws -> [String] {
        try text(path).split(separator: "\n").filter { $0.contains("-secret-key ") }.compactMap {
            $0.split(separator: " ").last.map(String.init)
        }
    }

    private func problem(_ body: () throws -> Void) throws -> String {
        do { try body() } catch let error as KeyError { return error.description }
        throw KeyError("nothing was refused")
    }

    @Test func everyHolderGetsItsOwnAndNobodyElses() throws {
        try withSet { set, path in
            let holders = try set.holders()
            #expect(holders.map(\.name) == ["coordinator", "operator", "reader", "shard-server", "worker"])
            var all: [String] = []
            for holder in holders {
                #expect(try mode(holder.directory) == 0o700)
                #expect(try mode(holder.directory + "/key") == 0o600)
                #expect(holder.isAccepted == (holder.role == .coordinator ? nil : true))
                let isServer = holder.role == .coordinator || holder.role == .shard
                #expect(FileManager.default.fileExists(atPath: holder.directory + "/accepted-keys") == isServer)
                let own = try secrets(holder.directory + "/key")
                #expect(own.count == [.coordinator: 1, .shard: 3][holder.role, default: 2])
                all += own
            }
            // No two holders share a secret.
            #expect(Set(all).count == all.count)
            // Lists have nothing secret in them.
            for server in ["coordinator", "shard-server"] {
                let list = try text("\(path)/\(server)/accepted-keys")
                for secret in all { #expect(!list.contains(secret)) }
            }
        }
    }

    @Test func nothingIsOverwritten() throws {
        try withSet { set, path in
            let before = try text("\(path)/worker/key")
            #expect(try problem { _ = try KeySet.make(path) }.contains("not empty"))
            #expect(try problem { _ = try set.add(.worker, name: "worker") }.contains("taken"))
            #expect(try text("\(path)/worker/key") == before)
            for name in ["", "a b", "../x", "Über", "-x", String(repeating: "a", count: 65)] {
                #expect(try problem { _ = try set.add(.worker, name: name) }.contains("a name has"), "\(name)")
            }
            #expect(try problem { _ = try set.add(.coordinator, name: "second") }.contains("one coordinator"))
        }
    }

    @Test func holdersAreAddedAndRevoked() throws {
        try withSet { set, path in
            let added = try set.add(.shard, name: "shard-b")
            #expect(added.changed.count == 3)
            _ = try set.add(.operator, name: "alice")
            let lists = try ["coordinator", "shard-server", "shard-b"].map { try text("\(path)/\($0)/accepted-keys") }
            #expect(Set(lists).count == 1 && lists[0].contains("operator alice "))
            // The new shard server proves to be what clients know.
            #expect(
                try KeyDirectory("\(path)/shard-b").key.server?.publicKey
                    == KeyDirectory("\(path)/worker").key.shardKey)
            #expect(try set.revoke("alice").role == .operator)
            #expect(!FileManager.default.fileExists(atPath: "\(path)/alice"))
            #expect(try !text("\(path)/shard-b/accepted-keys").contains("alice"))
            #expect(try problem { _ = try set.revoke("alice") }.contains("no holder"))
            #expect(try problem { _ = try set.revoke("coordinator") }.contains("cannot be revoked"))
            _ = try set.revoke("shard-server")
            #expect(try problem { _ = try set.revoke("shard-b") }.contains("last shard server"))
            // A holder whose directory was moved to where it is used is known by its public key.
            try FileManager.default.removeItem(atPath: "\(path)/reader")
            let reader = try #require(try set.holders().first { $0.name == "reader" })
            #expect(reader.isAccepted == true && reader.directory.isEmpty)
            _ = try set.revoke("reader")
            #expect(try !set.holders().contains { $0.name == "reader" })
        }
    }

    @Test func roleAndPlaceAreChecked() throws {
        try withSet { _, path in
            let directory = try KeyDirectory("\(path)/worker")
            let wrong = try problem { _ = try directory.security(as: [.operator, .reader], encryption: .all) }
            #expect(wrong.contains("worker \"worker\"") && wrong.contains("operator or reader"))
            #expect(try problem { _ = try KeyDirectory(path) }.contains("whole key set"))
            #expect(try problem { _ = try KeyDirectory("\(path)/nobody") }.contains("No such file"))
            guard case .shown = try directory.security(as: [.worker], encryption: .control).shards,
                case .encrypted = try directory.security(as: [.worker], encryption: .control).coordinator,
                case .encrypted = try directory.security(as: [.worker], encryption: .all).shards,
                case .shown = try KeyDirectory("\(path)/shard-server").security(as: [.shard], encryption: .control)
                    .server,
                case .encrypted = try KeyDirectory("\(path)/coordinator").security(
                    as: [.coordinator], encryption: .control
                ).server
            else {
                Issue.record("another security than was asked for")
                return
            }
        }
    }

    @Test func secretsThatOthersCanReadAreRefused() throws {
        try withSet { _, path in
            let key = "\(path)/worker/key"
            for wrong in [0o640, 0o604, 0o620, 0o644] {
                try FileManager.default.setAttributes([.posixPermissions: wrong], ofItemAtPath: key)
                let problem = try problem { _ = try KeyDirectory("\(path)/worker") }
                #expect(problem.contains("chmod 600 \(key)"), "\(problem)")
            }
            _ = try KeyDirectory("\(path)/worker", permissions: .any)
            try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: key)
            _ = try KeyDirectory("\(path)/worker")
            // A list that others can write is a way in.
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o666], ofItemAtPath: "\(path)/coordinator/accepted-keys")
            let open = try problem {
                _ = try KeyDirectory("\(path)/coordinator").security(as: [.coordinator], encryption: .all)
            }
            #expect(open.contains("chmod go-w"))
        }
    }

    @Test func damagedFilesAreNamedAndTheirSecretsAreNot() throws {
        try withSet { _, path in
            let file = "\(path)/shard-server/key"
            let good = try text(file)
            let secret = try #require(try secrets(file).first)
            let other = try KeyPair.random().secretKey.text
            let damages: [(String, String)] = [
                ("", "version is missing"),
                (good.replacingOccurrences(of: "version 1", with: "version 2"), "version 2"),
                (good.replacingOccurrences(of: secret, with: String(secret.dropLast())), "no key"),
                (good.replacingOccurrences(of: secret, with: other), "do not belong together"),
                (
                    good.replacingOccurrences(of: "own-secret-key ", with: "own-secret-key-"),
                    "expected a name and a value"
                ),
                (good.replacingOccurrences(of: "own-secret-key", with: "x" + secret), "does not begin with"),
                (good + "name again\n", "name is there twice"), (good + "\0", "no text"),
                (good.replacingOccurrences(of: "role shard-server", with: "role king"), "role is none of"),
                (good.replacingOccurrences(of: "name shard-server", with: "name a/b"), "a name has"),
                (good.split(separator: "\n").prefix(6).joined(separator: "\n"), "is missing"),
            ]
            for (text, expected) in damages {
                try Data(text.utf8).write(to: URL(fileURLWithPath: file))
                let problem = try problem { _ = try KeyDirectory("\(path)/shard-server") }
                #expect(problem.contains(expected), "\(problem)")
                #expect(problem.contains(file))
                for word in [secret, String(secret.dropLast()), other] { #expect(!problem.contains(word)) }
            }
            // Every prefix is refused or, with all values in it, the same key.
            for length in stride(from: 0, to: good.utf8.count - 1, by: 7) {
                try Data(good.utf8.prefix(length)).write(to: URL(fileURLWithPath: file))
                #expect(throws: KeyError.self) { try KeyDirectory("\(path)/shard-server") }
            }
        }
    }

    @Test func damagedListsAreNamed() throws {
        try withSet { _, path in
            let file = "\(path)/coordinator/accepted-keys"
            let good = try text(file)
            let worker = try #require(good.split(separator: "\n").first { $0.hasPrefix("worker") })
            for (text, expected) in [
                (good + "worker\n", "found 1 words"), (good + worker + "\n", "there twice"),
                (good.replacingOccurrences(of: "worker worker", with: "king worker"), "king is none of"),
                (good.replacingOccurrences(of: "worker worker ", with: "worker worker x"), "40 characters"),
                (
                    good + "coordinator c \(try KeyPair.random().publicKey) \(try KeyPair.random().publicKey)\n",
                    "is none of"
                ),
            ] {
                try Data(text.utf8).write(to: URL(fileURLWithPath: file))
                let problem = try problem {
                    _ = try KeyDirectory("\(path)/coordinator").security(as: [.coordinator], encryption: .all)
                }
                #expect(problem.contains(expected) && problem.contains(file), "\(problem)")
            }
        }
    }

    @Test func secretKeysDoNotShow() throws {
        let pair = try KeyPair.random()
        var dumped = ""
        dump(pair, to: &dumped)
        for text in [
            "\(pair)", "\(pair.secretKey)", String(reflecting: pair), dumped,
            "\(ClientSecurity.encrypted(pair, server: pair.publicKey))",
        ] {
            #expect(!text.contains(pair.secretKey.text))
        }
        #expect("\(pair)".contains(pair.publicKey.text))
        #expect(try KeyPair(secretKey: pair.secretKey).publicKey == pair.publicKey)
        for wrong in ["", "short", String(repeating: "\"", count: 40), String(repeating: "ä", count: 20)] {
            #expect(SecretKey(wrong) == nil && PublicKey(wrong) == nil)
        }
    }
}
