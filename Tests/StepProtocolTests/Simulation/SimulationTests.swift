internal import Foundation
internal import StepProtocol
import Testing

/// Thousands of random schedules over the real machines. `SIMULATION_SEEDS=n` runs n of them, `SIMULATION_SEED=s` runs
/// one and prints what happened.
@Suite struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment

    private static func replay(_ seed: UInt64) -> String {
        "replay with: SIMULATION_SEED=\(seed) swift test -c release --filter SimulationTests"
    }

    /// What many runs came to.
    private struct Tally: Sendable {
        var events = 0
        var steps = 0
        var attempts = 0
        var lostRuns = 0
        var faults: [String: Int] = [:]
        /// The smallest seed that violated a rule.
        var failure: (seed: UInt64, message: String)?

        mutating func add(_ simulation: Simulation) {
            events += simulation.eventCount
            steps += simulation.reports.count
            attempts += simulation.reports.reduce(0) { $0 + $1.attempts }
            lostRuns += simulation.failure == nil ? 0 : 1
            faults.merge(simulation.faults, uniquingKeysWith: +)
        }

        mutating func add(_ other: Tally) {
            events += other.events
            steps += other.steps
            attempts += other.attempts
            lostRuns += other.lostRuns
            faults.merge(other.faults, uniquingKeysWith: +)
            failure = [failure, other.failure].compactMap(\.self).min { $0.seed < $1.seed }
        }
    }

    private static func run(_ seeds: StrideTo<UInt64>) -> Tally {
        var tally = Tally()
        for seed in seeds {
            let simulation = Simulation(Scenario(seed: seed))
            if let violation = simulation.run() {
                tally.failure = (seed, "\(violation)\n\(simulation.scenario.summary)")
                return tally
            }
            tally.add(simulation)
        }
        return tally
    }

    @Test func everyScheduleEndsLikeTheUndisturbedRun() async {
        if let seed = Self.environment["SIMULATION_SEED"].flatMap(UInt64.init) {
            let simulation = Simulation(Scenario(seed: seed), tracing: true)
            let violation = simulation.run()
            print("seed \(seed): \(simulation.scenario.summary)")
            for line in simulation.trace ?? [] { print(line) }
            #expect(violation == nil, "seed \(seed)")
            return
        }
        let count = Self.environment["SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 3_000
        let lanes = UInt64(ProcessInfo.processInfo.activeProcessorCount)
        let tally = await withTaskGroup(of: Tally.self, returning: Tally.self) { group in
            for lane in 0..<lanes {
                group.addTask { @concurrent in Self.run(stride(from: lane, to: count, by: Int(lanes))) }
            }
            return await group.reduce(into: Tally()) { $0.add($1) }
        }
        if let failure = tally.failure {
            Issue.record("seed \(failure.seed), \(failure.message)\n\(Self.replay(failure.seed))")
            return
        }
        print(
            "\(count) seeds: \(tally.events) events, \(tally.steps) steps in \(tally.attempts) attempts, "
                + "\(tally.lostRuns) runs ended by a shard that lost its state; faults: "
                + tally.faults.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
        // The schedules must be hard enough to mean something.
        #expect(tally.attempts > tally.steps + tally.steps / 20)
        #expect(count < 100 || tally.faults.count >= 9)
    }

    /// A rule that is broken in the shells is noticed, so the invariants can fail.
    @Test(arguments: Sabotage.allCases)
    func sabotageIsNoticed(_ sabotage: Sabotage) {
        let noticed = (0..<300).contains { (seed: UInt64) in
            var scenario = Scenario(seed: seed)
            scenario.sabotage = sabotage
            return Simulation(scenario).run() != nil
        }
        #expect(noticed)
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
