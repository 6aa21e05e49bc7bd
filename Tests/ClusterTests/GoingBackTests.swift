import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// What was there before is there afterwards: restores that fail half-way, copies of directories, checkpoints of what was left, a run
/// that was over, and a database that was put back.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct GoingBackTests {
    /// A training of a head alone, with a cluster of `shards` shards and one worker, in a directory of its own.
    private func withTraining(
        shards: Int = 2, steps: Int = 100_000, pauseAfter: Int = 0, checkpointEvery: Int = 0, arguments: [String] = [],
        _ body: (LocalCluster, URL) throws -> Void
    ) throws {
        try withDirectory { directory in
            let data = directory.appending(path: "features.safetensors")
            try SyntheticData.writeFeatures(to: data, samples: 256, size: 16, classes: 64, seed: 1)
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            cluster.shardArguments = arguments
            try cluster.start(
                configuration: """
                    data: {kind: features, path: "\(data.path)", classes: 64}
                    backbone: {name: none, embedding_size: 16, dense_slices: 4}
                    head: {scale: 32, m1: 1, m2: 0.3, m3: 0, sample_rate: 0.5, slices: 8}
                    batch: {size: 32, micro_batch: 8}
                    schedule: {steps: \(steps), learning_rate: 0.1}
                    checkpoint: {every_steps: \(checkpointEvery)}
                    evaluation: {held_out_pairs: 0}
                    cluster: {lease_seconds: 2, pause_after: \(pauseAfter)}
                    """, world: .init(shards: shards, workers: 1))
            try body(cluster, directory)
        }
    }

    private func waitUntilPaused(_ cluster: LocalCluster) throws {
        try cluster.waitForStatus("the run pauses", seconds: 60) { $0.reason.hasPrefix("paused after") }
    }

    private func hashes(_ cluster: LocalCluster) throws -> Data { try cluster.query("hashes") }

    private func copy(_ source: URL, to target: URL) throws {
        if FileManager.default.fileExists(atPath: target.path) { try FileManager.default.removeItem(at: target) }
        try FileManager.default.copyItem(at: source, to: target)
    }

    @Test func aRestoreThatCannotReadItsCheckpointLosesNothingAndIsTriedAgain() throws {
        try withTraining(pauseAfter: 12) { cluster, directory in
            try waitUntilPaused(cluster)
            _ = try cluster.query("checkpoint")
            let before = try hashes(cluster)
            let checkpoint = try #require(try cluster.status().checkpoints.last?.directory)
            let file = URL(fileURLWithPath: checkpoint).appending(path: "slices/slice-00006.safetensors")
            let away = directory.appending(path: "away")
            try FileManager.default.moveItem(at: file, to: away)
            _ = try cluster.query("restore")
            try cluster.waitForStatus("the restore fails", seconds: 30) { $0.reason.contains("cannot be read") }
            #expect(Set(try cluster.status().shards.map(\.slices)) == [[[0, 4]], [[4, 8]]])
            try FileManager.default.moveItem(at: away, to: file)
            try waitUntilPaused(cluster)
            #expect(try hashes(cluster) == before)
        }
    }

    @Test func aCopyOfALivingShardsDirectoryIsRefusedAndNobodyIsDisturbed() throws {
        try withTraining { cluster, directory in
            try cluster.waitUntilCommitted(5)
            let copied = directory.appending(path: "copy")
            try copy(cluster.shardDirectory(0), to: copied)
            let step = try cluster.committedStep()
            try cluster.waitForStatus("later steps are on every disk", seconds: 60) { $0.safe > step + 5 }
            let process = try cluster.addShard(directory: copied)
            #expect(process.waitUntilExit(seconds: 60))
            #expect(process.terminationStatus == 77)
            let log = cluster.log("shard-2")
            #expect(log.contains("It is an older copy"), "\(log)")
            #expect(log.contains(cluster.shardDirectory(0).lastPathComponent), "it says which directory to use: \(log)")
            try cluster.waitUntilCommitted(try cluster.committedStep() + 10)
            #expect(cluster.shards[0].isRunning)
        }
    }

    @Test func aDirectoryFromBeforeSlicesMovedToItIsRefusedAndTheRightOneIsNot() throws {
        try withTraining(pauseAfter: 8) { cluster, directory in
            try waitUntilPaused(cluster)
            let copied = directory.appending(path: "copy")
            try copy(cluster.shardDirectory(0), to: copied)
            _ = try cluster.query("drain", [try cluster.name(of: cluster.shards[1])])
            try cluster.waitForStatus("the other shard is drained", seconds: 60) { $0.shards.count == 1 }
            let before = try hashes(cluster)
            cluster.shards[0].kill()
            let right = directory.appending(path: "right")
            try copy(cluster.shardDirectory(0), to: right)
            try copy(copied, to: cluster.shardDirectory(0))
            try cluster.shards[0].start()
            #expect(cluster.shards[0].waitUntilExit(seconds: 60))
            #expect(cluster.log("shard-0").contains("of which shard-"), "\(cluster.log("shard-0"))")
            try cluster.waitForStatus("the status says why", seconds: 60) { $0.reason.contains("Refused") }
            try copy(right, to: cluster.shardDirectory(0))
            try cluster.shards[0].start()
            try waitUntilPaused(cluster)
            #expect(try hashes(cluster) == before)
        }
    }

    @Test func checkpointsOfWhatTheClusterWentBackBehindDoNotCount() throws {
        try withTraining(shards: 1, pauseAfter: 20, checkpointEvery: 5) { cluster, _ in
            try waitUntilPaused(cluster)
            let steps = { try cluster.status().checkpoints.map(\.step) }
            _ = try cluster.query("checkpoint")
            let first = try #require(try steps().first)
            #expect(try steps().last == 19 && first < 19)
            let last = try #require(try cluster.status().checkpoints.last?.directory)
            let slice = "slices/slice-00003.safetensors"
            let old = try Data(contentsOf: URL(fileURLWithPath: last).appending(path: slice))
            _ = try cluster.query("restore", ["\(first)"])
            #expect(try steps() == [first])
            try cluster.waitUntil("they are moved aside", seconds: 30) {
                !FileManager.default.fileExists(atPath: last)
                    && FileManager.default.fileExists(atPath: last + ".abandoned")
            }
            _ = try cluster.query("set", ["lr=0.5"])
            _ = try cluster.query("resume")
            try cluster.waitForStatus("the run pauses again", seconds: 60) {
                $0.state == "paused" && $0.committed == 19
            }
            _ = try cluster.query("checkpoint")
            #expect(try steps().last == 19)
            #expect(try cluster.status().checkpoints.last?.directory == last)
            let new = try Data(contentsOf: URL(fileURLWithPath: last).appending(path: slice))
            #expect(new != old, "of another learning rate")
            let aside = URL(fileURLWithPath: last + ".abandoned")
            #expect(try Data(contentsOf: aside.appending(path: slice)) == old)
            let (code, text) = try LocalCluster.run("coordinator", ["verify", last])
            #expect(code == 0, "\(text)")
        }
    }

    @Test func aRunThatIsOverNoticesAShardThatHasLostItsLastSteps() throws {
        try withTraining(steps: 30, pauseAfter: 20, arguments: ["--sync", "never"]) { cluster, directory in
            try waitUntilPaused(cluster)
            // What a power cut leaves of a log that was never synced.
            let left = directory.appending(path: "left")
            try copy(cluster.shardDirectory(1), to: left)
            try cluster.waitUntilFinished(seconds: 60)
            let end = try hashes(cluster)
            cluster.shards[1].kill()
            try copy(left, to: cluster.shardDirectory(1))
            try cluster.shards[1].start()
            try cluster.waitForStatus("the loss is noticed", seconds: 60) {
                $0.state != "finished" && $0.committed < 29
            }
            let (_, events) = try cluster.run("events")
            #expect(events.contains("the run had finished, but"), "\(events)")
            try cluster.addWorker()
            try cluster.waitUntilFinished(seconds: 60)
            #expect(try hashes(cluster) == end)
        }
    }

    @Test func aDatabaseThatIsPutBackWhileMembersLiveDoesNotStopThem() throws {
        try withTraining { cluster, directory in
            try cluster.waitUntilCommitted(3)
            cluster.coordinator?.kill()
            let backup = directory.appending(path: "backup")
            try copy(cluster.stateDirectory, to: backup)
            // Terms go on.
            try cluster.startCoordinator()
            for _ in 0..<2 {
                try cluster.waitUntilCommitted(try cluster.committedStep() + 5)
                try cluster.restartCoordinator()
            }
            try cluster.waitUntilCommitted(try cluster.committedStep() + 5)
            let step = try cluster.committedStep()
            cluster.coordinator?.kill()
            try copy(backup, to: cluster.stateDirectory)
            try cluster.startCoordinator()
            try cluster.waitUntilCommitted(step + 5)
            let (_, events) = try cluster.run("events")
            #expect(events.contains("it is older than the cluster"), "\(events)")
        }
    }
}
