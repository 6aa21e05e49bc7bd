import Cluster
import ClusterHarness
import ClusterKeys
import Foundation
import OperatorStatus
import TestSupport
import Testing
import Wire

/// Clusters of real processes with keys, and what others get of them.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20)), .serialized) struct SecurityTests {
    /// A cluster with keys that trains on and on.
    private func withCluster(
        _ encryption: Encryption = .all, workers: Int = 1, _ body: (LocalCluster, LocalKeys, URL) throws -> Void
    ) throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let cluster = try LocalCluster(directory: directory, encryption: encryption)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 1_000_000), arguments: ["--http", "127.0.0.1:0"])
            try cluster.addShard()
            for _ in 0..<workers { try cluster.addWorker() }
            try cluster.waitUntilCommitted(3)
            try body(cluster, try #require(cluster.keys), directory)
        }
    }

    /// All secrets of a key set.
    private func secrets(_ keys: LocalKeys) throws -> [String] {
        try files(in: keys.directory).filter { $0.url.lastPathComponent == "key" }.flatMap { file in
            try String(contentsOf: file.url, encoding: .utf8).split(separator: "\n")
                .filter { $0.contains("-secret-key ") }.compactMap { $0.split(separator: " ").last.map(String.init) }
        }
    }

    /// The texts of all logs.
    private func logs(_ directory: URL) throws -> String {
        // Logs of shards' steps have the same extension, and are no text.
        try files(in: directory).filter { $0.url.pathExtension == "log" }
            .map { String(decoding: try Data(contentsOf: $0.url), as: UTF8.self) }.joined()
    }

    private func ask(_ cluster: LocalCluster, _ command: String, _ arguments: [String]) throws -> (
        code: Int32, text: String
    ) {
        try LocalCluster.run(
            "coordinator", [command] + arguments + ["--coordinator", cluster.endpoint, "--timeout", "4"])
    }

    /// Waits until a process's log has a text.
    private func expect(_ text: String, in log: String, of cluster: LocalCluster) throws {
        try cluster.waitUntil("\(log) says \(text)", seconds: 30) { cluster.log(log, lines: 10_000).contains(text) }
    }

    @Test func keysDoNotChangeABitAndNobodyTellsThem() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            func train(_ encryption: Encryption?, _ exchange: String) throws -> TrainingRun {
                try TrainingRun.run(
                    configuration: folderTraining(data, steps: 40, exchange: exchange),
                    world: .init(shards: 2, workers: 2),
                    in: directory.appending(path: "\(encryption?.rawValue ?? "open")-\(exchange)"), seconds: 120,
                    shardArguments: ["--log-level", "debug"], encryption: encryption)
            }
            let open = try train(nil, "features")
            #expect(open.losses.count == 40 && open.gap == nil)
            for (encryption, exchange) in [(Encryption.all, "features"), (.control, "rows"), (.control, "features")] {
                let run = try train(encryption, exchange)
                let difference = run.gap ?? run.difference(from: open)
                #expect(difference == nil, "\(encryption), \(exchange)")
                let place = directory.appending(path: "\(encryption.rawValue)-\(exchange)")
                let keys = try LocalKeys(place.appending(path: "keys"))
                let secrets = try secrets(keys)
                #expect(secrets.count == 10 && Set(secrets).count == 10)
                let text = try logs(place)
                #expect(text.contains("joined cluster"))
                for secret in secrets { #expect(!text.contains(secret)) }
                // What the run leaves is not secret either.
                for file in try files(in: place)
                where !file.url.path.hasPrefix(keys.directory.path) && file.bytes < 1 << 22 {
                    let content = try Data(contentsOf: file.url)
                    for secret in secrets { #expect(content.range(of: Data(secret.utf8)) == nil, "\(file.url.path)") }
                }
            }
        }
    }

    @Test func everyKeyIsGoodForItsRoleOnly() throws {
        try withCluster { cluster, keys, directory in
            let secrets = try secrets(keys)
            func expect(
                _ code: Int32, _ words: [String], _ command: String, _ arguments: [String] = [], with options: [String]
            ) throws {
                let answer = try ask(cluster, command, arguments + options)
                #expect(answer.code == code, "\(command) \(arguments): \(answer.text)")
                for word in words { #expect(answer.text.contains(word), "\(answer.text)") }
                for secret in secrets { #expect(!answer.text.contains(secret)) }
            }
            let reader = keys.arguments("reader")
            for question in ["status", "shards", "workers", "slices", "events", "checkpoints", "norms"] {
                try expect(0, [], question, with: reader)
            }
            try expect(0, ["shard-"], "center", ["3"], with: reader)
            try expect(0, [], "classes", ["list"], with: reader)
            for order in ["pause", "resume", "stop", "checkpoint", "restore"] {
                try expect(77, ["\"reader\" may only ask", "operator's key"], order, with: reader)
            }
            try expect(77, ["may only ask"], "drain", ["shard-0"], with: reader)
            try expect(77, ["may only ask"], "forget", ["shard-0"], with: reader)
            try expect(77, ["may only ask"], "classes", ["add", "3"], with: reader)
            try expect(0, ["pausing"], "pause", with: keys.arguments("operator"))
            try cluster.waitForStatus("it pauses", seconds: 30) { $0.state == "paused" }
            try expect(0, ["dense slice"], "hashes", with: reader)
            let before = try cluster.status()
            // Keys of members are none for commands, and say so before anything is sent.
            for member in ["worker", "shard-server", "coordinator"] {
                try expect(78, [member, "operator or reader"], "status", with: keys.arguments(member))
            }
            try expect(77, ["--keys"], "status", with: [])
            let others = try LocalKeys(directory.appending(path: "other-keys"))
            try expect(77, ["another cluster"], "status", with: others.arguments("operator"))
            try expect(64, ["--encrypt", "--keys"], "status", with: ["--encrypt", "control"])
            try expect(78, ["whole key set"], "status", with: ["--keys", keys.directory.path])

            // A member that gives commands, and an operator that plays a member, by hand.
            let worker = try keys.security("worker", as: .worker).coordinator
            #expect(throws: WireError.self) {
                try OperatorClient(connect: cluster.endpoint, security: worker, deadline: .seconds(10))
            }
            let client = try OperatorClient(
                connect: cluster.endpoint, hello: Hello(role: .operator, incarnation: 0),
                security: cluster.operatorSecurity().coordinator, deadline: .seconds(10))
            defer { client.close() }
            for message: WireMessage in [
                .ready(Ready(member: .init(.worker, 0), incarnation: 1)),
                .leave(Leave(member: .init(.worker, 0), incarnation: 1)),
            ] {
                do {
                    _ = try client.request(message)
                    Issue.record("\(message.name) was taken")
                } catch let error as WireError { #expect(error.code == .forbidden, "\(error)") }
            }
            #expect(try cluster.status().committed == before.committed)
            #expect(try cluster.status().workers.filter(\.alive).count == 1)
            #expect(try cluster.status().refused["forbidden", default: 0] >= 10)

            // Strangers were counted and told of, with their address.
            let log = cluster.log("coordinator", lines: 10_000)
            #expect(log.contains("turned away a peer at 127.0.0.1"), "\(log)")
            let line = try #require(log.split(separator: "\n").last { $0.contains("dashboard at") })
            let port = try #require(line.split(separator: ":").last?.split(separator: "/").first.flatMap { UInt16($0) })
            let metrics = try HTTPClient(port: port).get("/metrics").text
            #expect(metrics.contains("partialfc_turned_away_peers_total{reason="))
            for secret in secrets { #expect(!metrics.contains(secret)) }
            _ = try cluster.query("resume")
            try cluster.waitUntilCommitted(before.committed + 2)
        }
    }

    @Test func membersWithTheWrongKeysSayWhatToDo() throws {
        try withCluster { cluster, keys, directory in
            let others = try LocalKeys(directory.appending(path: "other-keys"))
            let cases: [(options: [String], text: String)] = [
                (["--keys", others.directory.appending(path: "worker").path], "another cluster"),
                (keys.arguments("worker").dropLast() + ["control"], "--encrypt"),
            ]
            for (index, (options, text)) in cases.enumerated() {
                // The last of two equal options counts.
                let worker = try cluster.addWorker(arguments: options)
                try expect(text, in: "worker-\(index + 1)", of: cluster)
                #expect(worker.isRunning)
                cluster.kill(worker)
            }
            for role in ["reader", "shard-server"] {
                let worker = try cluster.addWorker(arguments: keys.arguments(role))
                #expect(worker.waitUntilExit(seconds: 30) && worker.terminationStatus == 78)
            }
            let last = cluster.workers.count - 1
            try expect("this needs that of worker", in: "worker-\(last)", of: cluster)

            // A key that others can read is not used, wherever it lies.
            let copy = directory.appending(path: "copy")
            try FileManager.default.copyItem(at: keys.directory.appending(path: "worker"), to: copy)
            let file = copy.appending(path: "key").path
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
            let open = try cluster.addWorker(arguments: ["--keys", copy.path])
            #expect(open.waitUntilExit(seconds: 30) && open.terminationStatus == 78)
            try expect("chmod 600", in: "worker-\(last + 1)", of: cluster)
            let trusting = try cluster.addWorker(
                arguments: ["--keys", copy.path], environment: ["PARTIALFC_KEYS_PERMISSIONS": "any"])
            try expect("joined cluster", in: "worker-\(last + 2)", of: cluster)
            cluster.kill(trusting)

            // Without keys.
            let plain = ClusterProcess(
                name: "plain", program: LocalCluster.builtBinaries.appending(path: "worker"),
                arguments: ["train", "--coordinator", cluster.endpoint, "--exit-with-parent"], environment: [:],
                log: directory.appending(path: "plain.log"))
            try plain.start()
            defer { plain.kill() }
            try expect("--keys or PARTIALFC_KEYS", in: "plain", of: cluster)
            let text = try logs(directory)
            for secret in try secrets(keys) + secrets(others) { #expect(!text.contains(secret)) }
        }
    }

    @Test func aRevokedWorkerGoesAndANewOneComes() throws {
        try withCluster { cluster, keys, directory in
            let set = try KeySet(keys.directory.path)
            _ = try set.add(.worker, name: "guest")
            let guest = try cluster.addWorker(arguments: keys.arguments("guest"))
            try expect("joined cluster", in: "worker-1", of: cluster)
            try cluster.waitForStatus("both work", seconds: 60) { $0.workers.filter(\.alive).count == 2 }
            _ = try set.revoke("guest")
            #expect(guest.waitUntilExit(seconds: 60) && guest.terminationStatus == 77, "\(cluster.log("worker-1"))")
            try expect("revoked", in: "worker-1", of: cluster)
            let status = try cluster.waitForStatus("it is given up", seconds: 60) {
                $0.workers.filter(\.alive).count == 1
            }
            try cluster.waitUntilCommitted(status.committed + 3)
            // A new key under the old name is another key.
            _ = try set.add(.worker, name: "guest")
            try cluster.addWorker(arguments: keys.arguments("guest"))
            try expect("joined cluster", in: "worker-2", of: cluster)
            // The list was damaged: those in it stay.
            let list = keys.directory.appending(path: "coordinator/accepted-keys")
            try Data("worker guest\n".utf8).write(to: list)
            try expect("cannot be read, those read before still count", in: "coordinator", of: cluster)
            try cluster.waitUntilCommitted(try cluster.committedStep() + 3)
        }
    }

    @Test func slicesMoveAndShardsDrainWithKeys() throws {
        for encryption in Encryption.allCases {
            try withCluster(encryption) { cluster, _, _ in
                try cluster.addShard()
                try cluster.waitForStatus("the second shard has slices", seconds: 60) {
                    $0.shards.filter { !$0.slices.isEmpty }.count == 2 && $0.moves.isEmpty
                }
                // On SIGTERM a shard asks for its own drain.
                cluster.shards[0].terminate()
                #expect(cluster.shards[0].waitUntilExit(seconds: 60))
                #expect(cluster.shards[0].terminationStatus == 0)
                #expect(cluster.log("shard-0").contains("handing the slices over"), "\(cluster.log("shard-0"))")
                try cluster.waitUntilCommitted(try cluster.committedStep() + 3)
            }
        }
    }

    @Test func operatorsWithKeysDoNotTalkToAnOpenCluster() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let keys = try LocalKeys(directory.appending(path: "keys"))
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: folderTraining(data, steps: 10))
            let answer = try ask(cluster, "status", keys.arguments("operator"))
            #expect(answer.code == 77 && answer.text.contains("--encrypt"), "\(answer.text)")
            #expect(try ask(cluster, "status", []).code == 0)
            // On the loopback nobody is warned.
            #expect(!cluster.log("coordinator", lines: 1000).contains("open to everyone"))
            cluster.stop()
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 10), arguments: ["--bind", "tcp://0.0.0.0:*"])
            let warnings = cluster.log("coordinator", lines: 1000).components(separatedBy: "open to everyone").count - 1
            #expect(warnings == 1)
            cluster.stop()
            // With keys there is nothing to warn of; with damaged ones nothing begins.
            let serve = ["--bind", "tcp://0.0.0.0:*"] + keys.arguments("coordinator")
            try cluster.startCoordinator(configuration: folderTraining(data, steps: 10), arguments: serve)
            #expect(cluster.log("coordinator", lines: 1000).components(separatedBy: "open to everyone").count == 2)
            cluster.stop()
            try flipBit(in: keys.directory.appending(path: "coordinator/key"), at: 0.9)
            #expect(throws: HarnessError.self) {
                try cluster.startCoordinator(configuration: folderTraining(data, steps: 10), arguments: serve)
            }
            #expect(cluster.coordinator?.terminationStatus == 78, "\(cluster.log("coordinator"))")
        }
    }

    @Test func theCommandMakesListsAndRevokes() throws {
        try withDirectory { directory in
            let set = directory.appending(path: "set").path
            func keys(_ arguments: [String]) throws -> (code: Int32, text: String) {
                try LocalCluster.run("coordinator", ["keys"] + arguments)
            }
            #expect(try keys(["new", set]).code == 0)
            let again = try keys(["new", set])
            #expect(again.code == 66 && again.text.contains("not empty"))
            #expect(
                try keys(["add", set, "--role", "reader", "--name", "bob"]).text.contains("coordinator/accepted-keys"))
            #expect(try keys(["add", set, "--role", "king", "--name", "bob"]).code == 64)
            let list = try keys(["list", set])
            #expect(list.code == 0 && list.text.contains("bob"))
            let json = try JSONSerialization.jsonObject(with: Data(keys(["list", set, "--json"]).text.utf8))
            #expect((json as? [[String: Any]])?.count == 6)
            let all = try secrets(LocalKeys(URL(fileURLWithPath: set)))
            #expect(all.count == 12)
            for secret in all { #expect(!list.text.contains(secret)) }
            #expect(try keys(["revoke", set, "bob"]).code == 0)
            #expect(try keys(["revoke", set, "bob"]).code == 66)
            #expect(try !keys(["list", set]).text.contains("bob"))
            #expect(try keys(["list", directory.path]).text.contains("is no key set"))
        }
    }
}
