import ClusterHarness
import Foundation
import TestSupport
import Testing

/// What the programs make of configurations, options and directories as people give them.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ConfigurationProcessTests {
    private static let configuration = """
        data: {kind: features, path: "/nowhere", classes: 100, samples: 64, fingerprint: x}
        backbone: {name: none, embedding_size: 8}
        batch: {size: 8, micro_batch: 4}
        schedule: {steps: 12}
        """

    private func serve(
        _ directory: URL, state: String = "state", _ arguments: [String] = [], environment: [String: String] = [:]
    ) throws -> (code: Int32, text: String) {
        let file = directory.appending(path: "serve.yaml")
        try Self.configuration.write(to: file, atomically: true, encoding: .utf8)
        return try LocalCluster.run(
            "coordinator",
            [
                "serve", "--config", file.path, "--bind", "tcp://127.0.0.1:*", "--http", "off", "--state",
                directory.appending(path: state).path, "--set", "output=\(directory.path)",
            ] + arguments, environment: environment)
    }

    /// A run that began with the first sampling rule goes on with it, though new runs have another one.
    @Test func theSamplingRuleIsThatOfTheRun() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: Self.configuration, settings: ["head.sampling=1"])
            cluster.coordinator?.kill()
            let other = try serve(directory, ["--set", "head.sampling=2"])
            #expect(other.code == 78 && other.text.contains("head.sampling: stored 1, now 2"), "\(other.text)")
            try cluster.startCoordinator(configuration: Self.configuration)
            #expect(cluster.log("coordinator").contains("going on after step"))
        }
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: Self.configuration)
            cluster.coordinator?.kill()
            let other = try serve(directory, ["--set", "head.sampling=1"])
            #expect(other.code == 78 && other.text.contains("head.sampling: stored 2, now 1"), "\(other.text)")
        }
    }

    /// With rows in bf16 the first member's processor decides what products are computed in; the run keeps it, and refuses members
    /// whose processor lacks it.
    @Test func theFirstMemberDecidesWhatTheHeadComputesIn() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            let settings = ["head.storage=bf16", "backbone.embedding_size=16"]
            try cluster.startCoordinator(configuration: Self.configuration, settings: settings)
            let avx2 = ["PARTIALFC_BF16_KERNELS": "avx2"]
            try cluster.addShard(environment: avx2)
            try cluster.waitUntil("the shard decides", seconds: 60) {
                cluster.log("coordinator").contains("head.compute fma, by the processor of the first member")
            }
            try cluster.restartCoordinator()
            let lacking = try cluster.addShard(environment: ["PARTIALFC_BF16_KERNELS": "portable"])
            try cluster.waitUntil("the other is refused", seconds: 60) { !lacking.isRunning }
            #expect(cluster.log(lacking.name).contains("takes the kernels avx2, the peer's processor has portable"))
            cluster.coordinator?.kill()
            let other = try serve(directory, settings.flatMap { ["--set", $0] } + ["--set", "head.compute=bf16"])
            #expect(
                other.code == 78 && other.text.contains(#"head.compute: stored "fma", now "bf16""#), "\(other.text)")
        }
    }

    @Test func resultsOfAnotherRunAreNotOverwritten() throws {
        try withDirectory { directory in
            let metrics = directory.appending(path: "metrics.jsonl")
            try "{\"step\":0}\n".write(to: metrics, atomically: true, encoding: .utf8)
            try "weights".write(
                to: directory.appending(path: "backbone.safetensors"), atomically: true, encoding: .utf8)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: Self.configuration)
            let aside = directory.appending(path: "earlier-1")
            #expect(try String(contentsOf: aside.appending(path: "metrics.jsonl"), encoding: .utf8) == "{\"step\":0}\n")
            #expect(FileManager.default.fileExists(atPath: aside.appending(path: "backbone.safetensors").path))
            #expect(cluster.log("coordinator").contains("results of an earlier run"))
            // Another run in the same directory, while this one is served.
            let other = try serve(directory, state: "other")
            #expect(other.code == 73 && other.text.contains("another coordinator"), "\(other.text)")
            // The same run, started again, goes on with what it has written.
            try cluster.restartCoordinator()
            #expect(!FileManager.default.fileExists(atPath: directory.appending(path: "earlier-2").path))
        }
    }

    @Test func homeDirectoriesAreThoseOfTheUser() throws {
        try withDirectory { directory in
            let home = ["HOME": directory.path]
            let written = try LocalCluster.run("coordinator", ["verify", "~/nothing"], environment: home)
            #expect(written.text.contains("\(directory.path)/nothing"), "\(written.text)")
            let assigned = try LocalCluster.run(
                "coordinator", ["export", "out", "--checkpoint=~/nothing"], environment: home)
            #expect(assigned.text.contains("\(directory.path)/nothing"), "\(assigned.text)")
            let variable = try LocalCluster.run(
                "coordinator", ["serve"], environment: home.merging(["PARTIALFC_CONFIG": "~/run.yaml"]) { $1 })
            #expect(variable.code == 78 && variable.text.contains("\(directory.path)/run.yaml"), "\(variable.text)")
            let other = try LocalCluster.run("coordinator", ["verify", "--x=~nobody/y"])
            #expect(other.code == 64 && other.text.contains("~nobody/y"), "\(other.text)")
        }
    }

    @Test func whatCannotBeMeantIsSaidBeforeTheWork() throws {
        try withDirectory { directory in
            let path = directory.path
            for (program, arguments, code, reason) in [
                ("worker", ["train", "--summary", "\(path)/no/x"], 64, "--summary"),
                ("worker", ["train", "--record", "/dev/null/x"], 64, "--record"),
                ("worker", ["train", "--name", "a\u{1B}[31m"], 64, "--name"),
                ("worker", ["train", "--coordinator", "localhost:7400"], 64, "write tcp://localhost:7400"),
                ("worker", ["evaluate", "--backbone", "x", "--bin", "y", "--roc", "\(path)"], 64, "is a directory"),
                ("worker", ["glyphs", "--output", "g", "--image-size", "9223372036854775807"], 64, "8...256"),
                ("worker", ["glyphs", "--output", "g", "--threads", "99999999"], 64, "1...1024"),
                ("shard-server", ["--directory", "\(path)/s", "--table-file", "\(path)/no"], 64, "--table-file"),
                ("shard-server", ["--directory", "\(path)/s", "--bind", "tcp://localhost:*"], 64, "tcp://127.0.0.1:*"),
                ("shard-server", ["--directory", "\(path)/s", "--advertise", "host:70000"], 64, "65535"),
                ("coordinator", ["health", "127.0.0.1:70000"], 64, "65535"),
                ("coordinator", ["status", "--coordinator", "tcp://::1:7400"], 64, "tcp://[::1]:7400"),
            ] as [(String, [String], Int32, String)] {
                let result = try LocalCluster.run(program, arguments)
                #expect(result.code == code && result.text.contains(reason), "\(arguments): \(result.text)")
            }
            for (arguments, code, reason) in [
                (["--accept", "head.scale"], 64, "--resume"), (["--endpoint-file", path], 73, "is a directory"),
                (["--set", "head.scale=.nan"], 78, "head.scale"), (["--bind", "tcp://127.0.0.1:73186"], 64, "65535"),
                (["--set", "output=/proc/x"], 73, "/proc/x cannot be made: No such file or directory"),
            ] as [([String], Int32, String)] {
                let result = try serve(directory, arguments)
                #expect(result.code == code && result.text.contains(reason), "\(arguments): \(result.text)")
                #expect(!result.text.contains("NSCocoaErrorDomain"))
            }
            let variable = try serve(directory, environment: ["PARTIALFC_SET": "output=a b"])
            #expect(variable.code == 78 && variable.text.contains("PARTIALFC_SET b"), "\(variable.text)")
        }
    }
}
