import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// The coordinator's directory is lost while the shards live, or while all are down.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct AdoptTests {
    /// Kills the coordinator, removes its directory and starts it with `--adopt`; then waits until it has adopted the shards.
    private func loseState(of cluster: LocalCluster, andWait waits: Bool = true) throws {
        let coordinator = try #require(cluster.coordinator)
        coordinator.kill()
        try FileManager.default.removeItem(at: cluster.stateDirectory)
        if !coordinator.arguments.contains("--adopt") { coordinator.arguments.append("--adopt") }
        try cluster.startCoordinator()
        if waits { try waitUntilAdopted(cluster) }
    }

    private func waitUntilAdopted(_ cluster: LocalCluster) throws {
        try cluster.waitUntil("the shards are adopted", seconds: 60) { try cluster.run("status").code == 0 }
    }

    private func waitForShards(_ cluster: LocalCluster) throws {
        // A heartbeat brings the copy of the record.
        try cluster.waitForStatus("both shards are there", seconds: 30) { $0.shards.count == 2 }
        Thread.sleep(forTimeInterval: 2)
    }

    @Test func trainingGoesOnAsIfNothingHadHappened() throws {
        try Undisturbed.expectNoTrace(of: "a lost coordinator's directory") { cluster in
            try cluster.waitUntilInTheMiddle(after: 20)
            let before = try cluster.status()
            try waitForShards(cluster)
            try loseState(of: cluster)
            let after = try cluster.waitForStatus("training goes on", seconds: 60) {
                $0.committed > before.committed + 10
            }
            #expect(after.clusterID == before.clusterID && after.term > before.term)
            #expect(try cluster.run("events").text.contains("made again"))
            // Again, with everything down: the directories alone have it. And a second start with --adopt has nothing to do.
            try waitForShards(cluster)
            for shard in cluster.shards { shard.kill() }
            try loseState(of: cluster, andWait: false)
            let (code, text) = try cluster.run("status")
            #expect(code == 75 && text.contains("start all of them"), "\(code) \(text)")
            try cluster.shards[0].start()
            try cluster.waitUntil("the missing shard is named", seconds: 30) {
                let text = try cluster.run("status").text
                return text.contains("is missing, with slices")
            }
            try cluster.shards[1].start()
            try waitUntilAdopted(cluster)
            let last = try cluster.waitForStatus("training goes on", seconds: 60) {
                $0.committed > after.committed + 10
            }
            #expect(last.term > after.term)
            try cluster.restartCoordinator()
        }
    }

    /// A shard is lost with its directory at the same time: second copies are enough.
    @Test func aShardThatIsLostTooLeavesNoTrace() throws {
        try Undisturbed.expectNoTrace(
            of: "a lost coordinator's directory and a lost shard", shards: 3,
            settings: ["cluster.copies=2", "cluster.promote_after=0.5", "cluster.min_copies=2"],
            shardArguments: ["--log-bytes", "300000", "--copy-bytes", "65536"]
        ) { cluster in
            try cluster.waitUntilInTheMiddle(after: 20)
            let before = try cluster.waitForStatus("every slice has two copies", seconds: 60) { status in
                status.owners.count == 3 && status.copies.map { $0.complete == $0.slices } ?? false
            }
            // A heartbeat brings the copy of the record.
            Thread.sleep(forTimeInterval: 2)
            let lost = try cluster.name(of: cluster.shards[0])
            cluster.shards[0].kill()
            try loseState(of: cluster, andWait: false)
            try FileManager.default.removeItem(at: cluster.shardDirectory(0))
            try cluster.waitUntil("it is said what is missing, and that it can be had", seconds: 30) {
                let (code, text) = try cluster.run("status")
                return code == 0 || code == 75 && text.contains("\(lost) is missing") && text.contains("second copies")
            }
            try waitUntilAdopted(cluster)
            #expect(try cluster.run("events").text.contains("without \(lost)"))
            let after = try cluster.waitForStatus("the keepers take over", seconds: 60) {
                !$0.owners.isEmpty && !$0.owners.contains(lost)
            }
            #expect(after.clusterID == before.clusterID && after.committed >= before.committed)
            try cluster.addShard()
        }
    }

    @Test func whatAnOperatorHasOrderedIsKept() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.start(
                configuration: folderTraining(writeFolderDataset(to: directory), steps: 100_000),
                settings: ["checkpoint.directory=\(directory.appending(path: "checkpoints").path)"],
                world: .init(shards: 2, workers: 1))
            try cluster.waitUntilCommitted(5)
            #expect(try cluster.run("set", ["lr=0.02", "m3=0.2"]).code == 0)
            #expect(try cluster.run("classes", ["retire", "3"]).code == 0)
            #expect(try cluster.run("checkpoint").code == 0)
            #expect(try cluster.run("pause").code == 0)
            try cluster.waitForStatus("the classes are changed", seconds: 30) {
                $0.classVersion == 1 && $0.state == "paused"
            }
            let before = try cluster.status()
            let hashes = try cluster.run("hashes").text
            Thread.sleep(forTimeInterval: 2)
            try loseState(of: cluster)
            let after = try cluster.waitForStatus("it is paused again", seconds: 60) {
                $0.state == "paused" && $0.shards.count == 2
            }
            #expect(after.classVersion == 1 && after.committed == before.committed)
            #expect(after.checkpoints.map(\.directory) == before.checkpoints.map(\.directory))
            #expect(try cluster.run("hashes").text == hashes)
            #expect(try cluster.run("status").text.contains("0.02"))
            #expect(after.headChanges?.map(\.order) == ["m3=0.2"] && after.head?.m3 == 0.2)
            #expect(try cluster.run("resume").code == 0)
            try cluster.waitForStatus("training goes on", seconds: 60) { $0.committed > before.committed + 5 }
            // Another configuration is not that of the shards.
            let coordinator = try #require(cluster.coordinator)
            coordinator.arguments += ["--set", "head.scale=64"]
            try loseState(of: cluster, andWait: false)
            #expect(coordinator.waitUntilExit(seconds: 60) && coordinator.terminationStatus == 78)
            #expect(cluster.log("coordinator").contains("head.scale"), "\(cluster.log("coordinator"))")
        }
    }
}
