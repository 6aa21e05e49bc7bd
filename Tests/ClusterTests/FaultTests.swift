import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// What processes do when something is wrong: say so, and lose nothing.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct FaultTests {
    @Test func aServerUnderFireKeepsServing() throws {
        let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap(UInt64.init) ?? .random(in: 0...1_000_000)
        print("FUZZ_SEED=\(seed)")
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let run = try TrainingRun.run(
                configuration: folderTraining(data, steps: 60), world: .init(shards: 1, workers: 1), in: directory,
                seconds: 120
            ) { cluster in
                try cluster.waitUntil("a step is committed", seconds: 60) { try cluster.committedStep() >= 0 }
                var fuzzer = FrameFuzzer(seed: seed)
                for endpoint in [cluster.endpoint, try cluster.shardEndpoint(0)] {
                    let answers = try fuzzer.attack(endpoint, count: 3000)
                    #expect(answers > 0, "nothing was answered")
                }
                try cluster.waitUntil("rejections are counted", seconds: 20) {
                    let status = try cluster.object("status")
                    let refused = (status["refused"] as? [String: Int])?.values.reduce(0, +) ?? 0
                    let shard = (status["shards"] as? [[String: Any]])?.first?["refused"] as? Int ?? 0
                    return refused > 1000 && shard > 1000
                }
            }
            #expect(run.gap == nil, "FUZZ_SEED=\(seed)")
        }
    }

    /// A training of the head alone in which sample 3 is not a number.
    private func poisoned(_ directory: URL, policy: String) throws -> String {
        let path = directory.appending(path: "features.safetensors")
        try SyntheticData.writeFeatures(to: path, samples: 32, size: 8, classes: 8, seed: 1, poison: [3])
        return """
            data: {kind: features, path: "\(path.path)", classes: 8}
            backbone: {name: none, embedding_size: 8}
            head: {slices: 2}
            batch: {size: 8, micro_batch: 4}
            optimizer: {not_finite: \(policy), not_finite_limit: 3}
            schedule: {steps: 12}
            evaluation: {held_out_pairs: 0}
            """
    }

    @Test func aNotFiniteFeatureEndsTheRunWithItsPlace() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.start(
                configuration: poisoned(directory, policy: "stop"), world: .init(shards: 1, workers: 1))
            var reason = ""
            try cluster.waitUntil("the run fails", seconds: 30) {
                let (code, text) = try LocalCluster.run("coordinator", ["status", "--coordinator", cluster.endpoint])
                reason = text
                return code == 1
            }
            #expect(reason.contains("failed"))
            #expect(reason.contains("not finite") && reason.contains("sample"), "\(reason)")
            #expect(cluster.coordinator?.isRunning == true)
            #expect(cluster.shards[0].isRunning)
        }
    }

    @Test func aNotFiniteStepIsSkippedAndShown() throws {
        try withDirectory { directory in
            let configuration = try poisoned(directory, policy: "skip")
            var reference: TrainingRun?
            for (shards, workers) in [(1, 1), (2, 2)] {
                let cluster = try LocalCluster(directory: directory.appending(path: "\(shards)"))
                defer { cluster.stop() }
                try cluster.start(configuration: configuration, world: .init(shards: shards, workers: workers))
                try cluster.waitUntilFinished(seconds: 60)
                let run = try TrainingRun(of: cluster)
                #expect(run.gap == nil)
                #expect(run.losses.count == 12)
                // 12 steps of 8 are three passes over 32 samples; the sample is in one step of each.
                let status = try cluster.status()
                #expect(status.skippedSteps == 3)
                #expect(run.losses.count { $0.bits == "skipped" } == 3)
                let shown = try cluster.run("status").text
                #expect(shown.contains("rank") && shown.contains("not finite"), "\(shown)")
                if let reference { #expect(run.difference(from: reference) == nil) }
                reference = run
            }
        }
    }

    @Test func aLostShardIsNamed() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 100_000, lease: 1), settings: ["cluster.shards=2"])
            for _ in 0..<2 { try cluster.addShard() }
            try cluster.addWorker()
            try cluster.waitUntil("steps are committed", seconds: 60) { try cluster.committedStep() >= 2 }
            let lost = cluster.shards[1]
            let shards = try cluster.object("status")["shards"] as? [[String: Any]] ?? []
            let name = try #require(
                shards.first { $0["processID"] as? Int == Int(lost.processIdentifier) }?["name"] as? String)
            cluster.kill(lost)
            try cluster.waitUntil("the lost shard is named", seconds: 30) {
                let status = try cluster.object("status")
                return status["state"] as? String == "waiting"
                    && (status["reason"] as? String ?? "").contains(name)
            }
        }
    }

    @Test func aWorkerWithOtherDataStops() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let other = try writeFolderDataset(to: directory.appending(path: "other"))
            try FileManager.default.removeItem(at: other.appending(path: "id03/2.pgm"))
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: folderTraining(data, steps: 10))
            let worker = try cluster.addWorker(arguments: ["--data", other.path])
            worker.waitUntilExit()
            #expect(worker.terminationStatus == 78)
            #expect(cluster.log("worker-0").contains("the data differ"), "\(cluster.log("worker-0"))")
        }
    }

    @Test func aBackboneThatCannotBeWrittenIsAnError() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            try FileManager.default.createDirectory(
                at: directory.appending(path: "backbone.safetensors"), withIntermediateDirectories: true)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: folderTraining(data, steps: 3))
            try cluster.addShard()
            let worker = try cluster.addWorker()
            // It is tried again, and said, until somebody gives up.
            try cluster.waitForStatus("the results cannot be written", seconds: 60) {
                $0.state == "finishing" && $0.resultsProblem.contains("backbone.safetensors")
            }
            worker.terminate()
            #expect(worker.waitUntilExit(seconds: 30))
            #expect(worker.terminationStatus == 74)
            #expect(cluster.log("worker-0").contains("backbone.safetensors"), "\(cluster.log("worker-0"))")
        }
    }

    /// Several rounds, because a signal does harm only where it meets a computation.
    @Test(arguments: 0..<4) func everyProcessEndsOrderlyOnSIGTERM(round: Int) throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 100_000),
                settings: ["batch.size=48", "data.image_size=32", "backbone.widths=[16, 24, 32, 48]"])
            try cluster.addShard()
            for _ in 0..<3 { try cluster.addWorker() }
            try cluster.waitUntil("steps are committed", seconds: 60) { try cluster.committedStep() >= 10 + round }
            let coordinator = try #require(cluster.coordinator)
            let processes = cluster.workers + cluster.shards + [coordinator]
            for process in processes { process.terminate() }
            for process in processes {
                process.waitUntilExit()
                #expect(process.terminationStatus == 0)
                #expect(process.terminationReason == .exit)
            }
        }
    }
}
