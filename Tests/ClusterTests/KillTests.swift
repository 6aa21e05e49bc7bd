import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// `kill -9` of any process at any moment, then starting it again, leaves no trace in the result.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct KillTests {
    @Test func aKilledShardComesBackWithItsState() throws {
        try Undisturbed.expectNoTrace(of: "killed shards") { cluster in
            for round in 1...3 {
                try cluster.waitUntilInTheMiddle(after: 40 * round)
                try cluster.restartShard(round % 2)
            }
        }
    }

    /// So short a log, or so little patience, that snapshots are taken all the time.
    @Test(arguments: [["--log-bytes", "300000"], ["--replay-seconds", "0.01"]])
    func aKilledShardComesBackFromItsSnapshots(arguments: [String]) throws {
        try Undisturbed.expectNoTrace(
            of: "killed shards with snapshots", shardArguments: arguments + ["--copy-bytes", "4096"]
        ) { cluster in
            for round in 1...4 {
                try cluster.waitUntilInTheMiddle(after: 40 * round)
                try cluster.restartShard(round % 2)
            }
            try cluster.waitForStatus("snapshots are there", seconds: 60) { status in
                status.shards.allSatisfy { ($0.snapshotStep ?? -1) >= 0 }
            }
        }
    }

    @Test func aKilledCoordinatorGoesOn() throws {
        try Undisturbed.expectNoTrace(of: "a killed coordinator") { cluster in
            try cluster.waitUntilInTheMiddle()
            let before = try cluster.status()
            try cluster.restartCoordinator()
            let after = try cluster.waitForStatus("training goes on", seconds: 30) { $0.committed > before.committed }
            #expect(after.clusterID == before.clusterID)
            #expect(Set(after.shards.map(\.name)) == Set(before.shards.map(\.name)))
            #expect(cluster.workers.allSatisfy { $0.isRunning })
            #expect(cluster.shards.allSatisfy { $0.isRunning })
        }
    }

    @Test func everythingIsKilledAtOnce() throws {
        try Undisturbed.expectNoTrace(of: "everything killed twice") { cluster in
            for round in 1...2 {
                try cluster.waitUntilInTheMiddle(after: 60 * round)
                let before = try cluster.committedStep()
                cluster.killAll()
                try cluster.startCoordinator()
                for process in cluster.shards + cluster.workers { try process.start() }
                // No process death loses a step.
                let after = try cluster.waitForStatus("all shards are back", seconds: 30) { status in
                    status.shards.count { $0.alive } == 2
                }
                #expect(after.committed >= before)
            }
        }
    }

    @Test func aKilledShardWithoutALogGoesBackToTheCheckpoint() throws {
        try withDirectory { directory in
            let checkpoints = directory.appending(path: "checkpoints").path
            try Undisturbed.expectNoTrace(
                of: "a killed shard that logs nothing",
                settings: ["checkpoint.directory=\(checkpoints)", "checkpoint.every_steps=30"],
                shardArguments: ["--durability", "checkpoint"]
            ) { cluster in
                // The first kill finds no checkpoint, the second does.
                try cluster.waitUntilInTheMiddle(after: 10)
                try cluster.restartShard(0)
                try cluster.waitUntilInTheMiddle(after: 70)
                try cluster.restartShard(1)
            }
        }
    }

    @Test func aZombieChangesNothing() throws {
        try Undisturbed.expectNoTrace(of: "zombies") { cluster in
            try cluster.waitUntilInTheMiddle()
            cluster.workers[0].suspend()
            let before = try cluster.committedStep()
            try cluster.waitForStatus("the others go on without the stopped worker", seconds: 30) {
                $0.committed > before + 2
            }
            cluster.workers[0].resume()

            let name = try cluster.name(of: cluster.shards[1])
            cluster.shards[1].suspend()
            try cluster.waitForStatus("the stopped shard is missed", seconds: 30) { status in
                status.shards.first { $0.name == name }?.alive == false
            }
            let stopped = try cluster.committedStep()
            cluster.shards[1].resume()
            try cluster.waitForStatus("training goes on", seconds: 30) { $0.committed > stopped }
            #expect(cluster.shards.allSatisfy { $0.starts == 1 && $0.isRunning })
        }
    }

    @Test func aStoppedCoordinatorLosesNobody() throws {
        try Undisturbed.expectNoTrace(of: "a stopped coordinator") { cluster in
            try cluster.waitUntilInTheMiddle()
            cluster.coordinator?.suspend()
            Thread.sleep(forTimeInterval: 2.5)
            cluster.coordinator?.resume()
            let status = try cluster.waitForStatus("it answers again", seconds: 30) { _ in true }
            #expect(status.shards.allSatisfy { $0.alive })
            #expect(cluster.workers.allSatisfy { $0.isRunning })
        }
    }
}
