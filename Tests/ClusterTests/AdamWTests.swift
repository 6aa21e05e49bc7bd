import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// AdamW in a cluster: whatever happens to its processes, and however the slices are spread, the bits are the same.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct AdamWTests {
    private static let settings = [
        "optimizer.name=adamw", "optimizer.moments=bf16", "optimizer.weight_decay=0.05", "optimizer.decay=weights",
        "schedule.learning_rate=0.002", "head.storage=bf16",
    ]

    @Test func killsAndMovesChangeNoBit() throws {
        let undisturbed = try withDirectory { directory in
            try TrainingRun.run(
                configuration: folderTraining(writeFolderDataset(to: directory), steps: 60), settings: Self.settings,
                world: .init(shards: 1, workers: 1), in: directory, seconds: 120)
        }
        try withDirectory { directory in
            let configuration = try folderTraining(
                writeFolderDataset(to: directory), steps: 60, exchange: "rows", pauseAfter: 40)
            var checkpoint = ""
            let disturbed = try TrainingRun.run(
                configuration: configuration, settings: Self.settings, world: .init(shards: 2, workers: 2),
                in: directory, seconds: 180, shardArguments: ["--replay-seconds", "0.001"]
            ) { cluster in
                try cluster.waitUntilCommitted(10)
                try cluster.restartShard(0)
                try cluster.addShard()
                try cluster.waitUntil("the new shard owns slices", seconds: 60) {
                    try cluster.status().shards.contains { $0.name == "shard-2" && !$0.classes.isEmpty }
                }
                try cluster.waitUntilCommitted(39)
                let answer = try cluster.object("checkpoint")
                checkpoint = try #require(answer["directory"] as? String)
                try cluster.restartShard(2)
                try cluster.restartShard(1)
                try cluster.waitUntil("the run goes on", seconds: 60) {
                    guard let status = try? cluster.status() else { return false }
                    if status.state == "paused" { _ = try cluster.order("resume") }
                    return status.committed > 39
                }
            }
            #expect(disturbed.hashes == undisturbed.hashes)
            #expect(disturbed.losses.map(\.bits) == undisturbed.losses.map(\.bits))
            #expect(undisturbed.losses.count == 60)
            let resumed = try TrainingRun.run(
                configuration: configuration, settings: Self.settings + ["cluster.pause_after=0"],
                arguments: ["--resume", checkpoint], world: .init(shards: 1, workers: 1),
                in: directory.appending(path: "resumed"), seconds: 120)
            #expect(resumed.hashes == undisturbed.hashes)
        }
    }
}
