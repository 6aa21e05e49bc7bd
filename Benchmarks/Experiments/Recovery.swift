import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments recovery`.
struct Recovery: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Kill -9 one of two workers in the middle of a training, let another join later; the bits must be the same."
    )

    @OptionGroup var training: FaceTraining

    func run() throws {
        let world = TrainingRun.World(shards: 2, workers: 2)
        let undisturbed = try training.undisturbed(world, seconds: 600)
        for joins in [false, true] {
            var killedAfter = -1
            let run = try TrainingRun.run(
                configuration: training.configuration(), world: world, in: Experiments.directory("killed"), seconds: 600
            ) { cluster in
                try cluster.waitUntil("half of the steps are committed", seconds: 300) {
                    killedAfter = try cluster.committedStep()
                    return killedAfter >= training.steps / 2
                }
                cluster.kill(cluster.workers[0])
                if joins { try cluster.addWorker() }
            }
            let difference = run.gap ?? run.difference(from: undisturbed)
            Experiments.say(
                "worker-0 killed after step \(killedAfter)\(joins ? ", another joins" : ""): \(run.losses.count) steps, "
                    + "\(run.retriedSteps) retried, \(difference ?? "no gap, same losses, same hashes")")
            if difference != nil { throw ExitCode(1) }
        }
    }
}
