import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments chaos-loss`.
struct ChaosLoss: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Take random shards away for ever, with their directories, at random moments of a training; the bits must be the same."
    )

    @OptionGroup var training: FaceTraining

    @Option(help: "Number of shards that are lost.")
    var losses = 20

    @Option(help: "Shards at a time.")
    var shards = 3

    @Option(help: "Which ones are lost is a function of this.")
    var seed = UInt64.random(in: 0...1_000_000)

    @Option(help: "Seconds that a lost shard is waited for after its lease.")
    var promoteAfter = 1.0

    func run() throws {
        Experiments.say("seed \(seed)")
        let world = TrainingRun.World(shards: shards, workers: 2)
        let undisturbed = try training.undisturbed(world, seconds: 900)
        let directory = Experiments.directory("chaos-loss-\(seed)")
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        cluster.shardArguments = ["--log-bytes", "2000000"]
        try cluster.start(
            configuration: training.configuration(),
            settings: ["cluster.copies=2", "cluster.promote_after=\(promoteAfter)"], world: world)
        let supervisor = LossSupervisor(cluster: cluster, shards: shards, seed: seed, say: Experiments.say)
        let lost = try supervisor.run(losses, lastStep: training.steps - 1)
        try cluster.waitUntilFinished(seconds: 900)
        let run = try TrainingRun(of: cluster)
        let difference = run.gap ?? run.difference(from: undisturbed)
        show(lost)
        Experiments.say(
            "seed \(seed): \(lost.count) shards lost in \(run.losses.count) steps, "
                + (difference ?? "no gap, same losses, same hashes"))
        Experiments.say("hashes \(undisturbed.digest) undisturbed, \(run.digest) disturbed; logs in \(directory.path)")
        let missing = lost.count < losses ? "the run was over after \(lost.count) losses" : nil
        if let problem = difference ?? missing {
            Experiments.say(problem)
            throw ExitCode(1)
        }
    }

    private func show(_ losses: [LossSupervisor.Loss]) {
        func median(_ values: [Double]) -> String { Units.fixed(Experiments.median(values), 1) }
        Experiments.say(
            "from a loss to the next step: median \(median(losses.map(\.seconds))) s, at most "
                + "\(Units.fixed(losses.map(\.seconds).max() ?? 0, 1)) s (lease \(FaceTraining.lease) s and \(promoteAfter) s of patience); "
                + "to two copies again: median \(median(losses.map(\.copySeconds))) s")
    }
}
