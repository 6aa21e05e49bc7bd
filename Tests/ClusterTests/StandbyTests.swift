import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// A coordinator that is lost with its machine: another one has every decision, and takes over.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(10))) struct StandbyTests {
    private static let settings = ["cluster.lease_seconds=1", "cluster.copies=2"]

    /// The coordinator is killed, and its directory removed: the standby takes over by itself, with the word of two of three shards.
    @Test func theStandbyTakesOverByItself() throws {
        try Undisturbed.expectNoTrace(of: "a lost coordinator", shards: 3, settings: Self.settings, hasStandby: true) {
            cluster in
            try cluster.startStandby(arguments: ["--automatic"])
            try waitUntilInStep(cluster)
            let before = try cluster.waitForStatus("it trains", seconds: 60) { $0.committed > 20 }
            cluster.coordinator?.kill()
            try FileManager.default.removeItem(at: cluster.stateDirectory)
            let after = try cluster.waitForStatus("the standby goes on", seconds: 60) {
                $0.committed > before.committed + 10
            }
            #expect(after.term > before.term)
            #expect(after.standby == nil)
        }
    }

    /// An operator has the standby take over and then the first one again, which stands by meanwhile; one shard dies on the way.
    @Test func handedOverAndBack() throws {
        try Undisturbed.expectNoTrace(of: "handing over", shards: 2, settings: Self.settings, hasStandby: true) {
            cluster in
            try cluster.startStandby()
            for round in 1...4 {
                try waitUntilInStep(cluster)
                let before = try cluster.waitForStatus("it trains", seconds: 60) { $0.committed > 15 * round }
                _ = try cluster.query("promote")
                if round == 2 { try cluster.restartShard(0) }
                try cluster.waitForStatus("the other one goes on", seconds: 60) {
                    $0.committed > before.committed + 3 && $0.term > before.term
                }
            }
        }
    }

    /// The standby is lost: the shards agree that the coordinator goes on alone. When it is back it gets what it lacks.
    @Test func theCoordinatorGoesOnAlone() throws {
        try Undisturbed.expectNoTrace(of: "a lost standby", shards: 3, settings: Self.settings, hasStandby: true) {
            cluster in
            try cluster.startStandby(arguments: ["--automatic"])
            try waitUntilInStep(cluster)
            try cluster.waitUntilCommitted(10)
            cluster.standby?.kill()
            // What must be written in both places waits.
            _ = try cluster.query("pause")
            _ = try cluster.query("resume")
            let alone = try cluster.waitForStatus("it goes on alone", seconds: 30) { $0.standby == nil }
            try cluster.waitUntilCommitted(alone.committed + 5)
            // It was away while this was decided: it cannot take over.
            cluster.coordinator?.suspend()
            try cluster.standby?.start()
            Thread.sleep(forTimeInterval: 4)
            #expect(
                cluster.log("standby").contains("does not have every decision") == true, "\(cluster.log("standby"))")
            cluster.coordinator?.resume()
            try waitUntilInStep(cluster)
            // Now it can.
            let before = try cluster.status()
            cluster.coordinator?.kill()
            try cluster.waitForStatus("the standby goes on", seconds: 60) {
                $0.committed > before.committed + 3 && $0.term > before.term
            }
            // The first one finds that out, and stands by.
            try cluster.coordinator?.start()
            try waitUntilInStep(cluster)
        }
    }

    /// The first coordinator stands by after it was replaced, and is killed and started again as that.
    @Test func aReplacedCoordinatorIsAStandbyLikeAnother() throws {
        try Undisturbed.expectNoTrace(
            of: "a standby that is killed", shards: 3, settings: Self.settings, hasStandby: true
        ) { cluster in
            try cluster.startStandby(arguments: ["--automatic"])
            try waitUntilInStep(cluster)
            let before = try cluster.waitForStatus("it trains", seconds: 60) { $0.committed > 10 }
            cluster.coordinator?.kill()
            try cluster.waitForStatus("the standby goes on", seconds: 60) { $0.term > before.term }
            try cluster.coordinator?.start()
            try waitUntilInStep(cluster)
            cluster.coordinator?.kill()
            try cluster.coordinator?.start()
            Thread.sleep(forTimeInterval: 3)
            try waitUntilInStep(cluster)
            #expect(!cluster.log("coordinator", lines: 3).contains("asks whether"), "\(cluster.log("coordinator"))")
            // What is ordered now is known to whoever decides next.
            _ = try cluster.query("set", ["lr=*1", "m3=0.1"])
            let ordered = try cluster.status()
            cluster.standby?.kill()
            _ = try cluster.query("promote")
            let after = try cluster.waitForStatus("the first one decides again", seconds: 60) {
                $0.term > ordered.term && $0.committed >= ordered.committed
            }
            #expect(after.learningRateChanges.count == 1 && after.headChanges?.map(\.order) == ["m3=0.1"])
        }
    }

    private func waitUntilInStep(_ cluster: LocalCluster) throws {
        try cluster.waitForStatus("the standby has every decision", seconds: 60) { $0.standby?.isInStep ?? false }
    }
}
