import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments elastic`.
struct Elastic: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train with 1, then 3, then 2 shards and workers; the bits must be the same as without changes.")

    @OptionGroup var training: FaceTraining

    func run() throws {
        let undisturbed = try TrainingRun.run(
            configuration: training.configuration(), world: .init(shards: 1, workers: 1),
            in: Experiments.directory("undisturbed"), seconds: 600)
        Experiments.say(
            "1 shard, 1 worker: \(undisturbed.losses.count) steps, \(Units.fixed(undisturbed.stepsPerSecond, 1)) steps/s"
        )
        let run = try TrainingRun.run(
            configuration: training.configuration(), world: .init(shards: 1, workers: 1),
            in: Experiments.directory("elastic"), seconds: 900
        ) { cluster in
            try cluster.waitUntilCommitted(training.steps / 5)
            for _ in 0..<2 {
                try cluster.addShard()
                try cluster.addWorker()
            }
            try report(cluster, shards: 3, workers: 3)
            try cluster.waitUntilCommitted(training.steps * 3 / 5, seconds: 300)
            let name = try cluster.name(of: cluster.shards[0])
            _ = try cluster.query("drain", [name])
            cluster.workers[0].terminate()
            try report(cluster, shards: 2, workers: 2)
            guard cluster.shards[0].waitUntilExit(seconds: 20), cluster.shards[0].terminationStatus == 0 else {
                throw HarnessError("\(name) was drained and has not ended with 0")
            }
            Experiments.say("\(name) has ended with exit code 0")
        }
        let difference = run.gap ?? run.difference(from: undisturbed)
        Experiments.say(
            "1, 3, 2 shards and workers: \(run.losses.count) steps, \(difference ?? "no gap, same losses, same hashes")"
        )
        Experiments.say("hashes \(undisturbed.digest) undisturbed, \(run.digest) elastic")
        if difference != nil { throw ExitCode(1) }
    }

    /// Waits until so many own slices and compute, and says when that was.
    private func report(_ cluster: LocalCluster, shards: Int, workers: Int) throws {
        let before = try cluster.committedStep()
        let status = try cluster.waitForStatus("\(shards) shards and \(workers) workers take part", seconds: 120) {
            guard $0.state != "finished" else { throw HarnessError("the run was over too early") }
            return $0.owners.count == shards && !$0.isMoving && $0.workers.count(where: { $0.rank != nil }) == workers
        }
        Experiments.say(
            "step \(before): changes ordered; step \(status.committed): \(shards) shards own slices, \(workers) workers compute"
        )
    }
}
