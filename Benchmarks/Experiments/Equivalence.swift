import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments equivalence`.
struct Equivalence: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Train on faces with 1-4 shards, 1-3 workers, 1-2 threads and both exchanges: the bits must be the same.")

    @OptionGroup var training: FaceTraining

    func run() throws {
        var table = TextTable(["shards", "workers", "threads", "exchange", "steps/s", "last loss", "same bits"])
        var reference: TrainingRun?
        var differences = 0
        var worlds: [(TrainingRun.World, String)] = []
        for threads in 1...2 {
            for workers in 1...3 {
                for shards in 1...4 {
                    worlds.append((.init(shards: shards, workers: workers, threads: threads), "features"))
                }
            }
        }
        worlds.append((.init(shards: 1, workers: 1), "rows"))
        worlds.append((.init(shards: 3, workers: 2), "rows"))
        for (world, exchange) in worlds {
            let run = try TrainingRun.run(
                configuration: training.configuration(exchange: exchange), world: world,
                in: Experiments.directory("equivalence"), seconds: 600)
            let difference = run.gap ?? reference.flatMap { run.difference(from: $0) }
            if reference == nil { reference = run }
            if difference != nil { differences += 1 }
            table.add([
                "\(world.shards)", "\(world.workers)", "\(world.threads)", exchange, Units.fixed(run.stepsPerSecond, 1),
                run.losses.last?.bits ?? "–", difference ?? "yes",
            ])
            Experiments.say(
                "\(world), \(exchange): \(difference ?? "same bits"), \(Units.fixed(run.stepsPerSecond, 1)) steps/s")
        }
        Experiments.say("\n" + table.render())
        Experiments.say("\(training.steps) steps, \(worlds.count) worlds, \(differences) differ")
        if differences > 0 { throw ExitCode(1) }
        try cost()
    }

    /// What the fixed order costs: against one block per process, which is what summing in any order needs.
    private func cost() throws {
        let world = TrainingRun.World(shards: 2, workers: 2)
        var fixed: [Double] = []
        var free: [Double] = []
        for _ in 0..<3 {
            fixed.append(
                try TrainingRun.run(
                    configuration: training.configuration(), world: world, in: Experiments.directory("fixed"),
                    seconds: 600
                ).stepsPerSecond)
            free.append(
                try TrainingRun.run(
                    configuration: training.configuration(
                        slices: world.shards, microBatch: training.batch / world.workers),
                    world: world, in: Experiments.directory("free"), seconds: 600
                ).stepsPerSecond)
        }
        let (a, b) = (fixed.sorted()[1], free.sorted()[1])
        Experiments.say(
            "cost: \(world), medians of 3: \(training.slices) slices and micro-batches of \(training.microBatch) run \(Units.fixed(a, 1)) steps/s; "
                + "one block per process (slices = shards, micro-batch = the worker's whole part) \(Units.fixed(b, 1)) steps/s: ratio \(Units.fixed(a / b, 2))"
        )
    }
}
