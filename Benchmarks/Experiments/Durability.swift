import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments durability`.
struct Durability: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Measure what logging every step costs: bytes per step, and steps per second against --durability checkpoint."
    )

    @OptionGroup var features: FeatureTraining

    @Option(help: "A file that `worker glyphs` wrote: also measures the demo's training.")
    var glyphs: String?

    @Option(help: "The demo's configuration.")
    var demo = "examples/glyphs.yaml"

    @Option(help: "Steps of every run on the demo's data; a tenth of them is not counted.")
    var demoSteps = 150

    @Option(help: "Steps of every run on features.")
    var featureSteps = 40

    @Option(help: "Runs of each kind, one after the other in turn; medians are shown.")
    var repetitions = 3

    @Option(help: "Shard servers.")
    var shards = 2

    @Option(help: "Workers.")
    var workers = 2

    private struct Kind {
        var name: String
        var arguments: [String]
    }

    private static let kinds = [
        Kind(name: "checkpoint", arguments: ["--durability", "checkpoint"]),
        Kind(name: "step, sync never", arguments: ["--durability", "step", "--sync", "never"]),
        Kind(name: "step, sync interval", arguments: ["--durability", "step", "--sync", "interval"]),
        Kind(name: "step, sync always", arguments: ["--durability", "step", "--sync", "always"]),
    ]

    func run() throws {
        var table = TextTable(["run", "durability", "steps/s", "ratio", "bytes logged per step, all shards"])
        if let glyphs {
            let text = try String(contentsOfFile: demo, encoding: .utf8)
            try measure(
                "demo", steps: demoSteps, into: &table,
                settings: [
                    "data.path=\(glyphs)", "schedule.steps=\(demoSteps)", "evaluation.held_out_pairs=0",
                    "evaluation.every=0",
                ]
            ) { _ in text }
        }
        try measure(
            "\(features.classes) × \(features.embeddingSize), r = \(features.sampleRate), B = \(features.batch)",
            steps: featureSteps, into: &table
        ) { try features.configuration(steps: featureSteps, in: $0) }
        Experiments.say("\n" + table.render())
        Experiments.say(
            "\(shards) shards, \(workers) workers, medians of \(repetitions) runs; ratio to checkpoint; no snapshots were taken"
        )
    }

    private func measure(
        _ name: String, steps: Int, into table: inout TextTable, settings: [String] = [],
        _ configuration: (URL) throws -> String
    ) throws {
        var speeds = [[Double]](repeating: [], count: Self.kinds.count)
        var bytes = [Int](repeating: 0, count: Self.kinds.count)
        for round in 0..<repetitions {
            for (index, kind) in Self.kinds.enumerated() {
                let directory = Experiments.directory("durability")
                let cluster = try LocalCluster(directory: directory)
                defer {
                    cluster.stop()
                    try? FileManager.default.removeItem(at: directory)
                }
                cluster.shardArguments = kind.arguments + ["--log-bytes", "1000000000000"]
                try cluster.start(
                    configuration: configuration(directory), settings: settings,
                    world: .init(shards: shards, workers: workers))
                try cluster.waitUntilFinished(seconds: 1200)
                let seconds = try RecordedStep.all(in: directory).dropFirst(steps / 10).map(\.seconds)
                speeds[index].append(1 / Experiments.median(seconds))
                bytes[index] = try cluster.status().shards.reduce(0) { $0 + $1.logBytes } / steps
                Experiments.say(
                    "\(name), \(kind.name), run \(round): \(Units.fixed(speeds[index].last ?? .nan, 2)) steps/s")
            }
        }
        for (index, kind) in Self.kinds.enumerated() {
            let speed = Experiments.median(speeds[index])
            table.add([
                name, kind.name, Units.fixed(speed, 2), Units.fixed(speed / Experiments.median(speeds[0]), 3),
                "\(bytes[index])",
            ])
        }
    }
}
