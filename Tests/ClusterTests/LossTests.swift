import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// A shard that is lost for ever with its directory costs nothing where every slice has two copies.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct LossTests {
    private static let copies = ["cluster.copies=2", "cluster.promote_after=0.5"]

    /// A short version of `make chaos-loss`.
    @Test func lostShardsLeaveNoTrace() throws {
        let seed = ProcessInfo.processInfo.environment["CHAOS_SEED"].flatMap(UInt64.init) ?? .random(in: 0...1_000_000)
        print("CHAOS_SEED=\(seed)")
        try Undisturbed.expectNoTrace(
            // It waits for copies, so that all of the losses come before its end.
            of: "lost shards, CHAOS_SEED=\(seed)", shards: 3, settings: Self.copies + ["cluster.min_copies=2"],
            shardArguments: ["--log-bytes", "300000", "--copy-bytes", "65536"]
        ) { cluster in
            let supervisor = LossSupervisor(cluster: cluster, shards: 3, seed: seed, say: { print($0) })
            let losses = try supervisor.run(4, lastStep: Undisturbed.steps - 40)
            #expect(losses.count == 4, "CHAOS_SEED=\(seed)")
        }
    }

    /// A shard hands its slices over, some of them to those who keep copies of them, and is lost in the middle.
    @Test func aLossDuringADrainLeavesNoTrace() throws {
        try Undisturbed.expectNoTrace(
            of: "a loss during a drain", shards: 3,
            settings: Self.copies + ["cluster.min_copies=2", "cluster.moves_at_once=2"],
            shardArguments: ["--log-bytes", "300000", "--copy-bytes", "65536"]
        ) { cluster in
            for round in 1...2 {
                let status = try cluster.waitForStatus("every slice has two copies", seconds: 60) { status in
                    status.committed > 40 * round && status.owners.count == 3
                        && status.copies.map { $0.complete == $0.slices } ?? false
                }
                let victim = try #require(status.shards.first { status.owners.contains($0.name) })
                let index = try #require(
                    cluster.shards.firstIndex { Int($0.processIdentifier) == victim.processID })
                _ = try cluster.query("drain", [victim.name])
                cluster.shards[index].kill()
                try FileManager.default.removeItem(at: cluster.shardDirectory(index))
                try cluster.waitForStatus("the others go on", seconds: 60) { $0.committed > status.committed + 3 }
                #expect(cluster.shards.count(where: \.isRunning) == 2)
                try cluster.addShard()
            }
        }
    }

    /// A bit of the copies is flipped: the keeper says so, nobody takes the slices over, and the owner comes back with everything.
    @Test func aDamagedCopyIsNotTaken() throws {
        try Undisturbed.expectNoTrace(of: "a damaged copy", settings: Self.copies + ["cluster.min_copies=2"]) {
            cluster in
            try cluster.waitForStatus("every slice has two copies", seconds: 60) { status in
                status.committed > 20 && status.copies.map { $0.complete == $0.slices } ?? false
            }
            let copies = try files(in: cluster.shardDirectory(1).appending(path: "snapshots"))
            #expect(!copies.isEmpty)
            for file in copies { try flipBit(in: file.url) }
            let name = try cluster.name(of: cluster.shards[0])
            cluster.shards[0].kill()
            let waiting = try cluster.waitForStatus("the copies are refused", seconds: 60) {
                $0.reason.contains("no other shard")
            }
            #expect(waiting.reason.contains("no checkpoint"), "\(waiting.reason)")
            #expect(waiting.owners.contains(name))
            try cluster.shards[0].start()
            try cluster.waitForStatus("copies are made anew", seconds: 60) { status in
                status.state == "training" && status.copies.map { $0.complete == $0.slices } ?? false
            }
        }
    }

    /// Two at once, one of which keeps copies of the other's slices: the cluster waits, and says for which slices and what can be done.
    @Test func aLossWithoutAnotherCopyIsSaidInWords() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.start(
                configuration: folderTraining(writeFolderDataset(to: directory), steps: 100_000),
                settings: Self.copies + [
                    "checkpoint.directory=\(directory.appending(path: "checkpoints").path)",
                    // Often: both are sometimes lost during one.
                    "checkpoint.every_steps=20",
                ], world: .init(shards: 2, workers: 1))
            try cluster.waitForStatus("every slice has two copies", seconds: 60) { status in
                status.copies.map { $0.complete == $0.slices && $0.slices > 0 } ?? false && !status.checkpoints.isEmpty
            }
            cluster.shards[0].kill()
            cluster.shards[1].kill()
            try FileManager.default.removeItem(at: cluster.shardDirectory(0))
            // A fresh directory is a new member, whatever address it has.
            for shard in cluster.shards { try shard.start() }
            // What one had the other keeps: shard 1 came back with its directory, and goes on with the copies.
            let before = try cluster.committedStep()
            try cluster.waitForStatus("it takes over what the lost one had", seconds: 60) { $0.committed > before + 2 }

            for index in 0..<2 {
                cluster.shards[index].kill()
                try FileManager.default.removeItem(at: cluster.shardDirectory(index))
            }
            for shard in cluster.shards { try shard.start() }
            // One is missed before the other.
            let stuck = try cluster.waitForStatus("it is said what is lost", seconds: 60) { status in
                status.reason.contains("coordinator forget")
                    && !status.shards.contains { $0.alive && status.owners.contains($0.name) }
            }
            #expect(stuck.reason.contains("complete copy of slice 0"), "\(stuck.reason)")
            #expect(stuck.reason.contains("checkpoint"), "\(stuck.reason)")
            let name = try #require(stuck.shards.first { !$0.alive && stuck.owners.contains($0.name) }?.name)
            _ = try cluster.query("forget", [name])
            try cluster.waitForStatus("the others go on from the checkpoint", seconds: 60) {
                $0.state == "training" && $0.committed > 0
            }
        }
    }
}
