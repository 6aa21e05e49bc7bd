import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments fuzz`.
struct Fuzz: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Send random and mutated messages to the coordinator and a shard server while they train.")

    @OptionGroup var training: FaceTraining

    @Option(help: "Messages to each server.")
    var count = 100_000

    @Option(help: "What is sent is a function of this.")
    var seed = UInt64.random(in: 0...1_000_000)

    func run() throws {
        Experiments.say("seed \(seed)")
        let world = TrainingRun.World(shards: 2, workers: 1)
        let undisturbed = try TrainingRun.run(
            configuration: training.configuration(), world: world, in: Experiments.directory("calm"), seconds: 600)
        let run = try TrainingRun.run(
            configuration: training.configuration(), world: world, in: Experiments.directory("fuzz"), seconds: 1200
        ) { cluster in
            try cluster.waitUntil("the first step is committed", seconds: 60) { try cluster.committedStep() >= 0 }
            var fuzzer = FrameFuzzer(seed: seed)
            for (name, endpoint) in [("coordinator", cluster.endpoint), ("shard-0", try cluster.shardEndpoint(0))] {
                let answers = try fuzzer.attack(endpoint, count: count)
                Experiments.say("\(name): \(count) messages sent, \(answers) answers read back")
            }
            Thread.sleep(forTimeInterval: 2)
            let status = try cluster.object("status")
            let refused = status["refused"] as? [String: Int] ?? [:]
            Experiments.say("coordinator refused \(refused.values.reduce(0, +)): \(refused.sorted { $0.key < $1.key })")
            let shard = (status["shards"] as? [[String: Any]])?.first ?? [:]
            Experiments.say("shard-0 refused \(shard["refused"] ?? 0)")
        }
        let difference = run.gap ?? run.difference(from: undisturbed)
        Experiments.say("training under fire: \(run.losses.count) steps, \(difference ?? "same losses, same hashes")")
        if difference != nil { throw ExitCode(1) }
    }
}
