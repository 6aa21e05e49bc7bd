internal import Dispatch
internal import Foundation
internal import Synchronization
internal import TestSupport
internal import Testing

/// Two coordinators, of which one decides at a time, in simulated schedules of crashes, cuts, orders and shards that come and go.
@Suite(.tags(.slow), .timeLimit(.minutes(20)))
struct SuccessionTests {
    private static var seedCount: Int {
        ProcessInfo.processInfo.environment["SUCCESSION_SEEDS"].flatMap(Int.init) ?? 1_000
    }

    @Test("What has taken effect is known to whoever decides later, and in the end one decides")
    func schedules() {
        let found = Mutex<(failures: [String], feats: [String: Int])>(([], [:]))
        DispatchQueue.concurrentPerform(iterations: Self.seedCount) { seed in
            let simulation = SuccessionSimulation(seed: UInt64(seed))
            let violation = simulation.run()
            found.withLock { found in
                if let violation { found.failures.append("seed \(seed): \(violation)") }
                found.feats.merge(simulation.feats) { $0 + $1 }
            }
        }
        let (failures, feats) = found.withLock { $0 }
        #expect(failures.isEmpty, "\(failures.sorted().prefix(5))")
        for feat in [
            "attached", "effect", "took over", "handed over", "went on alone", "found the leader", "standby is there",
            "superseded", "isolated", "voters changed",
        ] { #expect(feats[feat, default: 0] > 0, "no schedule in which: \(feat)") }
    }

    @Test("The simulation notices each of our faults", arguments: SuccessionSimulation.Sabotage.allCases)
    func sabotage(_ sabotage: SuccessionSimulation.Sabotage) {
        let isNoticed = (0..<2_000).contains { seed in
            SuccessionSimulation(seed: UInt64(seed), sabotage: sabotage).run() != nil
        }
        #expect(isNoticed)
    }
}
