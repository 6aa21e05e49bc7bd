import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments shares`.
struct Shares: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train with a fast and a slow worker, with equal shares of the micro-batches and with measured ones.",
        discussion: """
            The slow worker is an ordinary one that is stopped for half of the time, again and again. Prints steps per second of the second \
            half of each run, and compares losses and hashes.
            """)

    @OptionGroup var training: FaceTraining

    @Option(help: "Milliseconds that the slow worker runs, then is stopped for.")
    var milliseconds = 20.0

    func run() throws {
        let equal = try train("equal")
        let measured = try train("measured")
        let gain = measured.stepsPerSecond / equal.stepsPerSecond
        Experiments.say("measured shares: \(Units.fixed(gain, 2)) times the steps of equal ones")
        let difference = measured.run.gap ?? measured.run.difference(from: equal.run)
        Experiments.say(difference ?? "no gap, same losses, same hashes: \(measured.run.digest)")
        if difference != nil { throw ExitCode(1) }
    }

    private func train(_ shares: String) throws -> (run: TrainingRun, stepsPerSecond: Double) {
        let directory = Experiments.directory("shares-\(shares)")
        let run = try TrainingRun.run(
            configuration: training.configuration(), settings: ["cluster.shares=\(shares)"],
            world: .init(shards: 1, workers: 2), in: directory, seconds: 900, disturb: slowDown)
        let second = try RecordedStep.all(in: directory).dropFirst(training.steps / 2)
        let stepsPerSecond = Double(second.count) / second.reduce(0) { $0 + $1.seconds }
        Experiments.say("\(shares) shares: \(Units.fixed(stepsPerSecond, 2)) steps/s")
        return (run, stepsPerSecond)
    }

    /// Lets the second worker run for half of the time, until the training is nearly over.
    private func slowDown(_ cluster: LocalCluster) throws {
        try cluster.waitUntilCommitted(0)
        let worker = cluster.workers[1]
        defer { worker.resume() }
        let end = Date(timeIntervalSinceNow: 800)
        while Date() < end, worker.isRunning {
            for _ in 0..<20 {
                worker.suspend()
                Thread.sleep(forTimeInterval: milliseconds / 1000)
                worker.resume()
                Thread.sleep(forTimeInterval: milliseconds / 1000)
            }
            if try RecordedStep.all(in: cluster.directory).count >= training.steps - 2 { return }
        }
    }
}
