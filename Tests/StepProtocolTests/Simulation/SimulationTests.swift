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

    @Test func everyScheduleEndsLikeTheUndisturbedRun() {
        if let seed = Self.environment["SIMULATION_SEED"].flatMap(UInt64.init) {
            let simulation = Simulation(Scenario(seed: seed), tracing: true)
            let violation = simulation.run()
            print("seed \(seed): \(simulation.scenario.summary)")
            for line in simulation.trace ?? [] { print(line) }
            #expect(violation == nil, "seed \(seed)")
            return
        }
        let count = Self.environment["SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 3_000
        var events = 0
        var attempts = 0
        var steps = 0
        var faults: [String: Int] = [:]
        var lost = 0
        for seed in 0..<count {
            let simulation = Simulation(Scenario(seed: seed))
            if let violation = simulation.run() {
                Issue.record("seed \(seed), \(violation)\n\(simulation.scenario.summary)\n\(Self.replay(seed))")
                return
            }
            events += simulation.eventCount
            steps += simulation.reports.count
            attempts += simulation.reports.reduce(0) { $0 + $1.attempts }
            faults.merge(simulation.faults, uniquingKeysWith: +)
            lost += simulation.failure == nil ? 0 : 1
        }
        print(
            "\(count) seeds: \(events) events, \(steps) steps in \(attempts) attempts, \(lost) runs ended by a shard that "
                + "lost its state; faults: \(faults.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" })")
        // The schedules must be hard enough to mean something.
        #expect(attempts > steps + steps / 20)
        #expect(faults.count >= 9)
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
