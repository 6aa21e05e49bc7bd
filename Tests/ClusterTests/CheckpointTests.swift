import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// Checkpoints of a live cluster, and clusters that start from them.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct CheckpointTests {
    @Test func anyNumberOfShardsCanGoOnFromIt() throws {
        let undisturbed = try Undisturbed.run.get()
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let configuration = Undisturbed.configuration(data)
            let checkpoints = directory.appending(path: "checkpoints")
            let settings = ["checkpoint.directory=\(checkpoints.path)", "checkpoint.keep=2"]
            var step = -1
            do {
                let cluster = try LocalCluster(directory: directory.appending(path: "first"))
                defer { cluster.stop() }
                try cluster.start(configuration: configuration, settings: settings, world: .init(shards: 2, workers: 2))
                for round in 1...3 {
                    try cluster.waitUntilInTheMiddle(after: 20 * round)
                    _ = try cluster.query("checkpoint")
                    try cluster.waitForStatus("checkpoint \(round) is there", seconds: 30) {
                        ($0.checkpoints.map(\.step).max() ?? -1) > step
                    }
                    step = try cluster.status().checkpoints.map(\.step).max() ?? -1
                }
                #expect(try cluster.status().checkpoints.count == 2, "two are kept")
                #expect(try cluster.run("checkpoints").text.contains("\(step)"))
            }
            let kept = try FileManager.default.contentsOfDirectory(atPath: checkpoints.path)
            #expect(kept.count == 2, "\(kept)")
            let path = checkpoints.appending(path: try #require(kept.sorted().last)).path
            let (code, text) = try LocalCluster.run("coordinator", ["verify", path])
            #expect(code == 0, "\(text)")

            let cluster = try LocalCluster(directory: directory.appending(path: "second"))
            defer { cluster.stop() }
            try cluster.start(
                configuration: configuration, settings: settings, arguments: ["--resume", path],
                world: .init(shards: 3, workers: 1))
            try cluster.waitUntilFinished(seconds: 120)
            let run = try TrainingRun(of: cluster)
            #expect(run.hashes == undisturbed.hashes)
            #expect(run.losses.map(\.step) == Array(step + 1..<Undisturbed.steps))
            #expect(run.losses.map(\.bits) == Array(undisturbed.losses.map(\.bits)[(step + 1)...]))

            // A bit that flips in it is found and named.
            let largest = try #require(try files(in: URL(fileURLWithPath: path)).first)
            try flipBit(in: largest.url)
            let damaged = try LocalCluster.run("coordinator", ["verify", path])
            #expect(damaged.code != 0)
            #expect(damaged.text.contains(largest.url.lastPathComponent), "\(damaged.text)")
        }
    }

    @Test func anotherConfigurationIsRefusedWithADiff() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.start(configuration: Undisturbed.configuration(data), world: .init(shards: 1, workers: 1))
            try cluster.waitUntilCommitted(3)
            let coordinator = try #require(cluster.coordinator)
            // Two coordinators on one state.
            let second = try LocalCluster.run(
                "coordinator",
                [
                    "serve", "--config", directory.appending(path: "run.yaml").path, "--bind", "tcp://127.0.0.1:*",
                    "--state", cluster.stateDirectory.path,
                ])
            #expect(second.code != 0)
            #expect(second.text.contains("\(coordinator.processIdentifier)"), "\(second.text)")

            coordinator.kill()
            let arguments = coordinator.arguments
            coordinator.arguments += ["--set", "head.scale=64"]
            #expect(throws: HarnessError.self) { try cluster.startCoordinator() }
            #expect(coordinator.terminationStatus == 78)
            #expect(cluster.log("coordinator").contains("head.scale"), "\(cluster.log("coordinator"))")
            #expect(cluster.log("coordinator").contains("16") && cluster.log("coordinator").contains("64"))
            coordinator.arguments = arguments
            try cluster.startCoordinator()
            let committed = try cluster.committedStep()
            try cluster.waitUntilCommitted(committed + 3)
        }
    }
}
