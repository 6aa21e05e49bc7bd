import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// The number of processes changes while a cluster trains.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ElasticTests {
    @Test func oneThenThreeThenTwo() throws {
        try Undisturbed.expectNoTrace(of: "1, 3, 2 shards and workers", shards: 1, workers: 1) { cluster in
            try cluster.waitUntilInTheMiddle()
            for _ in 0..<2 {
                try cluster.addShard()
                try cluster.addWorker()
            }
            try cluster.waitForStatus("three shards own slices, three workers compute", seconds: 60) {
                $0.owners.count == 3 && !$0.isMoving && $0.workers.count(where: { $0.rank != nil }) == 3
            }
            // By command, and by signal.
            let name = try cluster.name(of: cluster.shards[0])
            _ = try cluster.query("drain", [name])
            cluster.workers[0].terminate()
            try #require(cluster.shards[0].waitUntilExit(seconds: 60))
            #expect(cluster.shards[0].terminationReason == .exit && cluster.shards[0].terminationStatus == 0)
            let status = try cluster.waitForStatus("two shards are left", seconds: 30) { $0.owners.count == 2 }
            #expect(!status.shards.contains { $0.name == name })
            #expect(status.committed < status.totalSteps - 1, "the run was over too early for this test")
        }
    }

    @Test func aSignalHandsTheSlicesOver() throws {
        try Undisturbed.expectNoTrace(of: "SIGTERM of a shard") { cluster in
            try cluster.waitUntilInTheMiddle()
            let name = try cluster.name(of: cluster.shards[1])
            cluster.shards[1].terminate()
            try #require(cluster.shards[1].waitUntilExit(seconds: 60))
            #expect(cluster.shards[1].terminationReason == .exit && cluster.shards[1].terminationStatus == 0)
            let status = try cluster.status()
            #expect(!status.shards.contains { $0.name == name })
            #expect(status.owners.count == 1)
            #expect(["training", "paused"].contains(status.state))
            // The directory that it has left may be used again.
            try cluster.shards[1].start()
            try cluster.waitForStatus("two shards own slices", seconds: 60) { $0.owners.count == 2 && !$0.isMoving }
        }
    }

    /// It is no member any more, and the copies that it had are worth nothing.
    @Test func aShardThatLeavesBeforeItOwnsAnythingMayComeBack() throws {
        try Undisturbed.expectNoTrace(of: "a shard that leaves while it receives slices") { cluster in
            try cluster.waitUntilInTheMiddle()
            try cluster.addShard()
            let manifest = cluster.shardDirectory(2).appending(path: "manifest.json")
            // Stopped in the moment in which it has kept copies and owns nothing yet.
            try cluster.waitUntil("it keeps copies", seconds: 30) {
                guard let text = try? String(contentsOf: manifest, encoding: .utf8) else { return false }
                return text.contains("sideLog")
            }
            cluster.shards[2].terminate()
            try #require(cluster.shards[2].waitUntilExit(seconds: 60))
            #expect(cluster.shards[2].terminationStatus == 0)
            try cluster.shards[2].start()
            try cluster.waitForStatus("three shards own slices", seconds: 60) {
                $0.owners.count == 3 && !$0.isMoving
            }
        }
    }

    /// It is started again because it is wanted: what was under way because of the signal is called off.
    @Test func aShardThatIsKilledOnItsWayOutStaysWhenItComesBack() throws {
        try Undisturbed.expectNoTrace(of: "a kill of a shard that hands its slices over") { cluster in
            try cluster.waitUntilInTheMiddle()
            // Nobody takes the slices as long as the other shard stands still.
            cluster.shards[0].suspend()
            cluster.shards[1].terminate()
            let note = cluster.shardDirectory(1).appending(path: "going").path
            try cluster.waitUntil("it is on its way out", seconds: 20) { FileManager.default.fileExists(atPath: note) }
            cluster.shards[1].kill()
            try cluster.shards[1].start()
            cluster.shards[0].resume()
            // What goes back to it moves at step boundaries, of which a fast machine may have no more.
            try cluster.waitForStatus("it stays", seconds: 60) {
                $0.owners.count == 2 && (!$0.isMoving || $0.state == "finished")
                    && $0.shards.allSatisfy { $0.alive && !$0.isDraining }
            }
            try cluster.waitUntil("the note is gone", seconds: 20) { !FileManager.default.fileExists(atPath: note) }
        }
    }

    @Test func theOnlyShardCannotBeDrained() throws {
        try Undisturbed.expectNoTrace(of: "a drain that is refused, and SIGTERM", shards: 1, workers: 1) { cluster in
            try cluster.waitUntilInTheMiddle()
            let name = try cluster.name(of: cluster.shards[0])
            let (code, text) = try cluster.run("drain", [name])
            #expect(code != 0)
            #expect(text.contains(name), "\(text)")
            // Its state stays in its directory.
            cluster.shards[0].terminate()
            try #require(cluster.shards[0].waitUntilExit(seconds: 20))
            #expect(cluster.shards[0].terminationStatus == 0)
            try cluster.shards[0].start()
        }
    }

    @Test func rebalancingWaitsForAnOrder() throws {
        try Undisturbed.expectNoTrace(
            of: "rebalance by hand", settings: ["cluster.rebalance=manual"]
        ) { cluster in
            try cluster.waitUntilInTheMiddle()
            try cluster.addShard()
            try cluster.waitForStatus("it has joined", seconds: 30) { $0.shards.count == 3 }
            let plan = try JSONSerialization.jsonObject(with: cluster.query("rebalance", ["--dry-run"]))
            #expect("\(plan)".contains("shard-2"), "\(plan)")
            let before = try cluster.status()
            #expect(!before.isMoving && before.owners.count == 2)
            _ = try cluster.query("rebalance")
            try cluster.waitForStatus("three shards own slices", seconds: 60) {
                $0.owners.count == 3 && !$0.isMoving
            }
        }
    }

    /// Both ends of a move, while it is under way.
    @Test(arguments: ["receiver", "donor", "coordinator"]) func aKillWhileSlicesMove(victim: String) throws {
        try Undisturbed.expectNoTrace(of: "a killed \(victim) while slices move") { cluster in
            try cluster.waitUntilInTheMiddle()
            try cluster.addShard()
            try cluster.waitForStatus("slices move", seconds: 30) { $0.isMoving }
            switch victim {
            case "receiver": try cluster.restartShard(2)
            case "donor": try cluster.restartShard(0)
            default: try cluster.restartCoordinator()
            }
            try cluster.waitForStatus("three shards own slices", seconds: 60) {
                $0.owners.count == 3 && !$0.isMoving
            }
        }
    }
}
