internal import Foundation
internal import StepProtocol
import TestSupport
import Testing

/// 20 minutes for 10,000 seeds.
private let limit = TimeLimitTrait.Duration.minutes(
    20 * max(1, (ProcessInfo.processInfo.environment["SIMULATION_SEEDS"].flatMap(Int.init) ?? 0) / 10_000))

/// Thousands of random schedules over the real machines. `SIMULATION_SEEDS=n` runs n of them, `SIMULATION_SEED=s` runs
/// one and prints what happened.
@Suite(.tags(.slow), .timeLimit(limit)) struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment

    private static func replay(_ seed: UInt64) -> String {
        "replay with: SIMULATION_SEED=\(seed) swift test -c release --filter SimulationTests"
    }

    /// What many runs came to.
    private struct Tally: Sendable {
        var events = 0
        var steps = 0
        var commits = 0
        var attempts = 0
        var faults: [String: Int] = [:]
        var feats: [String: Int] = [:]
        /// The smallest seed that violated a rule, and how many did.
        var failure: (seed: UInt64, message: String)?
        var failures: [UInt64] = []

        mutating func add(_ simulation: Simulation) {
            events += simulation.eventCount
            steps += simulation.reports.count
            commits += simulation.commits
            attempts += simulation.reports.reduce(0) { $0 + $1.attempts }
            faults.merge(simulation.faults, uniquingKeysWith: +)
            feats.merge(simulation.feats, uniquingKeysWith: +)
        }

        mutating func add(_ other: Tally) {
            events += other.events
            steps += other.steps
            commits += other.commits
            attempts += other.attempts
            faults.merge(other.faults, uniquingKeysWith: +)
            feats.merge(other.feats, uniquingKeysWith: +)
            failure = [failure, other.failure].compactMap(\.self).min { $0.seed < $1.seed }
            failures += other.failures
        }
    }

    private static func run(_ seeds: StrideTo<UInt64>) -> Tally {
        var tally = Tally()
        for seed in seeds {
            let simulation = Simulation(Scenario(seed: seed))
            if let violation = simulation.run() {
                tally.failures.append(seed)
                if tally.failure == nil { tally.failure = (seed, "\(violation)\n\(simulation.scenario.summary)") }
                if tally.failures.count == 20 { return tally }
            }
            tally.add(simulation)
        }
        return tally
    }

    private static func list(_ counts: [String: Int]) -> String {
        counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    }

    @Test func everyScheduleEndsLikeTheUndisturbedRun() async {
        if let seed = Self.environment["SIMULATION_SEED"].flatMap(UInt64.init) {
            var scenario = Scenario(seed: seed)
            scenario.sabotage = Self.environment["SIMULATION_SABOTAGE"].flatMap(Sabotage.init)
            let simulation = Simulation(scenario, tracing: true)
            let violation = simulation.run()
            print("seed \(seed): \(simulation.scenario.summary)")
            for line in simulation.trace ?? [] { print(line) }
            #expect(violation == nil, "seed \(seed)")
            return
        }
        let count = Self.environment["SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 10_000
        let threads = UInt64(ProcessInfo.processInfo.activeProcessorCount)
        let start = ContinuousClock.now
        let tally = await withTaskGroup(of: Tally.self, returning: Tally.self) { group in
            for thread in 0..<threads {
                group.addTask { @concurrent in Self.run(stride(from: thread, to: count, by: Int(threads))) }
            }
            return await group.reduce(into: Tally()) { $0.add($1) }
        }
        print(
            "seeds 0..<\(count) in \(ContinuousClock.now - start): \(tally.events) events, \(tally.steps) steps in "
                + "\(tally.commits) commits, \(tally.attempts) attempts; \(Self.list(tally.feats)); "
                + "faults: \(Self.list(tally.faults))")
        if let failure = tally.failure {
            let others = tally.failures.sorted().prefix(20)
            Issue.record(
                "seed \(failure.seed), \(failure.message)\n\(Self.replay(failure.seed))\nall that failed: \(others)")
            return
        }
        // The schedules must be hard enough to mean something.
        #expect(tally.attempts > tally.steps + tally.steps / 20)
        #expect(count < 1_000 || tally.faults.count >= 23)
        #expect(count < 1_000 || tally.feats.count >= 9)
        #expect(count < 1_000 || tally.feats["replaced without workers"] != nil)
    }

    /// A rule that is broken in the shells is noticed, so the invariants can fail.
    @Test(arguments: Sabotage.allCases)
    func sabotageIsNoticed(_ sabotage: Sabotage) {
        let seed = (0..<4_000).first { (seed: UInt64) in
            var scenario = Scenario(seed: seed)
            scenario.suffer(sabotage)
            return Simulation(scenario).run() != nil
        }
        #expect(seed != nil)
        print("\(sabotage) is noticed with seed \(seed ?? 0)")
    }

    @Test func theSameSeedGivesTheSameRun() {
        let first = Simulation(Scenario(seed: 7), tracing: true)
        let second = Simulation(Scenario(seed: 7), tracing: true)
        #expect(first.run() == nil)
        #expect(second.run() == nil)
        #expect(first.trace?.isEmpty == false)
        #expect(first.trace == second.trace)
    }
}
