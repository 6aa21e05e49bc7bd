import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments partitions`.
struct Partitions: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Cut every kind of link of a training in one direction, briefly, longer than a lease, and longer than a shard is waited for; the bits must be the same."
    )

    @Option(help: "Number of shards.")
    var shards = 3

    @Option(help: "Number of workers.")
    var workers = 2

    @Option(parsing: .upToNextOption, help: "How long cuts last, in seconds.")
    var seconds = [2.0, 5.0, 15.0]

    @Option(help: "Only the links whose name contains this.")
    var only = ""

    @Option(help: "Number of steps; by default as many as the cuts take.")
    var steps: Int?

    /// A shard is waited for as long as both together; a worker is left out after as long as one.
    private static let lease = 3.0
    private static let patience = 3.0
    /// What copying and training take between cuts.
    private static let between = 8.0

    private var world: TrainingRun.World { .init(shards: shards, workers: workers) }

    func run() throws {
        if let problem = ClusterNetwork.problem { return Experiments.say("skipped: \(problem)") }
        let directory = Experiments.directory("partitions")
        let data = try SyntheticData.writeFolder(to: directory)
        let count: Int
        if let steps {
            count = steps
        } else {
            let (_, trial) = try train(data, steps: 200, in: directory.appending(path: "trial")) { _ in }
            count = Int(trial.stepsPerSecond * seconds.reduce(0) { $0 + $1 + Self.between }) + 100
        }
        let (_, undisturbed) = try train(data, steps: count, in: directory.appending(path: "undisturbed")) { _ in }
        Experiments.say(
            "undisturbed: \(count) steps, \(Units.fixed(undisturbed.stepsPerSecond, 0)) per second; a lease is \(Self.lease) s, "
                + "and a lost shard is waited for for \(Self.patience) s more")
        var rows: [String] = []
        var problems: [String] = []
        for cut in LinkCut.allCases where only.isEmpty || cut.rawValue.contains(only) {
            let name = "\(cut)"
            do {
                let (outcomes, run) = try train(data, steps: count, in: directory.appending(path: name)) { cluster in
                    let supervisor = try PartitionSupervisor(cluster: cluster, world: world)
                    return try seconds.map { seconds in
                        let outcome = try supervisor.run(cut, seconds: seconds)
                        Experiments.note("\(row(outcome, "…"))")
                        return outcome
                    }
                }
                let difference = run.gap ?? run.difference(from: undisturbed)
                if let difference { problems.append("\(cut.rawValue): \(difference)") }
                rows += outcomes.map { row($0, difference ?? "same") }
            } catch {
                problems.append("\(cut.rawValue): \(error)")
            }
        }
        Experiments.say(
            "| cut | seconds | longest time without a step | what `status` said | a worker left out | slices made from copies | losses and hashes |"
        )
        Experiments.say("|---|---|---|---|---|---|---|")
        for row in rows { Experiments.say(row) }
        for problem in problems { Experiments.say(problem) }
        Experiments.say("logs in \(directory.path)")
        if !problems.isEmpty { throw ExitCode(1) }
    }

    private func row(_ outcome: PartitionSupervisor.Outcome, _ end: String) -> String {
        let fields = [
            outcome.cut.rawValue, Units.fixed(outcome.seconds, 0), "\(Units.fixed(outcome.standstill, 1)) s",
            outcome.said.isEmpty ? "–" : outcome.said, outcome.lostWorker ? "yes" : "no",
            outcome.lostShard ? "yes" : "no", end,
        ]
        return "| " + fields.joined(separator: " | ") + " |"
    }

    /// Trains in a network of its own to the end.
    private func train<Result>(
        _ data: URL, steps: Int, in directory: URL, _ disturb: (LocalCluster) throws -> Result
    ) throws -> (Result, TrainingRun) {
        let cluster = try LocalCluster(directory: directory, network: ClusterNetwork())
        defer { cluster.stop() }
        try cluster.start(
            configuration: """
                data: {kind: folder, path: "\(data.path)", image_size: 16, channels: 1}
                backbone: {name: iresnet-small, embedding_size: 16, widths: [8, 8, 16, 16], dense_slices: 8}
                head: {scale: 16, m1: 1, m2: 0, m3: 0.1, sample_rate: 0.5, slices: 8, exchange: features}
                batch: {size: 16, micro_batch: 4}
                schedule: {steps: \(steps), learning_rate: 0.05}
                evaluation: {held_out_pairs: 0}
                cluster: {lease_seconds: \(Self.lease), stuck_seconds: \(Self.patience), copies: 2, promote_after: \(Self.patience)}
                """, world: world)
        let result = try disturb(cluster)
        try cluster.waitUntilFinished(seconds: 900)
        return (result, try TrainingRun(of: cluster))
    }
}
