import ClusterHarness
import Foundation
import TestSupport
import Testing

/// The operator's commands against a running cluster, and their exit codes.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct OperatorTests {
    @Test func commandsShowTheCluster() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 100_000), settings: ["cluster.shards=2"])
            // Nothing was done yet: there is no last step.
            sleep(2)
            let early = try cluster.run("status").text
            #expect(!early.contains("last step"), "\(early)")
            for _ in 0..<2 { try cluster.addShard() }
            try cluster.addWorker()
            try cluster.waitUntil("steps are committed", seconds: 60) { try cluster.committedStep() >= 5 }
            func text(_ command: String) throws -> String {
                let (code, text) = try LocalCluster.run("coordinator", [command, "--coordinator", cluster.endpoint])
                #expect(code == 0, "\(text)")
                return text
            }
            #expect(try text("status").contains("samples/s"))
            #expect(try text("status").contains("training  sgd, determinism exact"))
            #expect(try text("shards").contains("shard-1"))
            #expect(try text("workers").contains("worker-0"))
            #expect(try text("slices").split(separator: "\n").count == 9)
            let slices = try JSONSerialization.jsonObject(with: cluster.query("slices")) as? [[String: Any]]
            let classes = slices?.compactMap { $0["classes"] as? [[Int]] }.joined()
            #expect(classes?.reduce(0) { $0 + $1[1] - $1[0] } == 12)

            let alive = try LocalCluster.run("coordinator", ["alive", "--coordinator", cluster.endpoint])
            #expect(alive.code == 0 && alive.text.contains("worker-0"), "\(alive.text)")
            let elsewhere = try cluster.run("alive", ["a-host-that-is-not-there"])
            #expect(elsewhere.code == 1 && elsewhere.text.contains("a-host-that-is-not-there"), "\(elsewhere.text)")

            _ = try text("pause")
            try cluster.waitUntil("it pauses", seconds: 20) {
                try cluster.object("status")["state"] as? String == "paused"
            }
            let paused = try cluster.committedStep()
            #expect(try text("hashes").contains("dense slice"))
            #expect(try cluster.committedStep() == paused)
            _ = try text("resume")
            try cluster.waitUntil("it goes on", seconds: 20) { try cluster.committedStep() > paused }
            _ = try text("stop")
            #expect(try LocalCluster.run("coordinator", ["watch", "--coordinator", cluster.endpoint]).code == 0)
            let worker = cluster.workers[0]
            worker.waitUntilExit()
            #expect(worker.terminationStatus == 0)
        }
    }

    @Test func exitCodesTellScriptsWhatIsWrong() throws {
        try withDirectory { directory in
            let nobody = try LocalCluster.run(
                "coordinator", ["status", "--coordinator", "tcp://127.0.0.1:1", "--timeout", "0.5"])
            #expect(nobody.code == 69, "\(nobody.text)")
            #expect(nobody.text.contains("no answer"))

            let file = directory.appending(path: "run.yaml")
            try "head: {slices: 12}\n".write(to: file, atomically: true, encoding: .utf8)
            let wrong = try LocalCluster.run("coordinator", ["serve", "--config", file.path])
            #expect(wrong.code == 78)
            #expect(wrong.text.contains("head.slices: is 12, not a power of two"), "\(wrong.text)")

            let missing = try LocalCluster.run("worker", ["evaluate", "--backbone", "/missing", "--bin", "/missing"])
            #expect(missing.code == 70)
            #expect(missing.text.contains("/missing"))
        }
    }

    @Test func variablesThatCannotBeUsedAreNamed() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            let wrong = [
                ("PARTIALFC_THREADS", "many"), ("PARTIALFC_DURABILITY", "some"), ("PARTIALFC_SYNC", "ever"),
                ("PARTIALFC_LOG_BYTES", "1G"), ("PARTIALFC_LOG_LEVEL", "loud"),
            ]
            for (index, (name, value)) in wrong.enumerated() {
                let shard = try cluster.addShard(environment: [name: value])
                try #require(shard.waitUntilExit(seconds: 20), "\(name)")
                #expect(shard.terminationStatus == 64, "\(name)")
                #expect(cluster.log("shard-\(index)").contains(value), "\(cluster.log("shard-\(index)"))")
            }
        }
    }

    private struct Help: Decodable {
        struct Command: Decodable {
            struct Argument: Decodable {
                struct Name: Decodable { var name: String }
                var names: [Name]?
            }
            var commandName: String
            var subcommands: [Command]?
            var arguments: [Argument]?
        }
        var command: Command
    }

    @Test func everyCommandPrintsJSONAndCanAskAnotherMachine() throws {
        let (code, text) = try LocalCluster.run("coordinator", ["--experimental-dump-help"])
        #expect(code == 0)
        var commands = [try JSONDecoder().decode(Help.self, from: Data(text.utf8)).command]
        var seen = 0
        while let command = commands.popLast() {
            // Not of operators: a process by itself, and files.
            let others = ["help", "serve", "health", "keys"]
            let parts = (command.subcommands ?? []).filter { !others.contains($0.commandName) }
            commands += parts
            guard parts.isEmpty else { continue }
            seen += 1
            let options = Set((command.arguments ?? []).flatMap { $0.names ?? [] }.map(\.name))
            #expect(options.contains("json"), "\(command.commandName)")
            // These need no cluster.
            if ["verify", "import", "backup", "restore-backup"].contains(command.commandName) { continue }
            #expect(options.isSuperset(of: ["coordinator", "timeout"]), "\(command.commandName)")
        }
        #expect(seen > 30)
    }

    @Test(arguments: ["coordinator", "shard-server", "worker"]) func helpAndCompletionsWork(program: String) throws {
        #expect(try LocalCluster.run(program, ["--help"]).text.contains("USAGE"))
        for shell in ["bash", "zsh", "fish"] {
            let (code, script) = try LocalCluster.run(program, ["--generate-completion-script", shell])
            #expect(code == 0)
            #expect(script.contains(program))
        }
    }
}
