import ArgumentParser
import ClusterHarness
import ClusterKeys
import Foundation
import ProcessSupport

/// `experiments security`.
struct Security: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Measure what keys cost: row serving and steps of a cluster without keys, with only control encrypted, and with everything."
    )

    @OptionGroup var features: FeatureTraining

    @Option(help: "Rounds, in each of which everything is measured once; medians are shown.")
    var rounds = 5

    @Option(help: "Element type of the rows that are served: f32 or bf16.")
    var dtype = Serving.RowType.f32

    @Option(help: "Rows per pull and per push.")
    var rows = 100_000

    @Option(help: "Pulls and pushes per round, of which the median is taken.")
    var repetitions = 7

    @Option(help: "Steps of every cluster, of which the first fifth is not counted.")
    var steps = 40

    @Option(help: "Shard servers.")
    var shards = 2

    @Option(help: "Workers.")
    var workers = 1

    @Option(help: "Threads of every process.")
    var threads = 2

    /// What is compared.
    private enum Kind: String, CaseIterable {
        case open = "no keys"
        case control = "control encrypted"
        case all = "all encrypted"

        var encryption: Encryption? {
            switch self {
            case .open: nil
            case .control: .control
            case .all: .all
            }
        }
    }

    func validate() throws {
        guard rounds > 0, steps >= 5 else { throw ValidationError("--rounds is above 0, --steps is 5 at least") }
    }

    func run() throws {
        // What was measured, per name and kind, once a round.
        var figures: [String: [Kind: [Double]]] = [:]
        var names: [String] = []
        func note(_ name: String, _ kind: Kind, _ value: Double) {
            if figures[name] == nil { names.append(name) }
            figures[name, default: [:]][kind, default: []].append(value)
        }
        for round in 0..<rounds {
            for kind in Kind.allCases {
                for result in try serve(kind) { note("\(result.name), GB/s", kind, result.gigabytesPerSecond) }
                let speed = try train(kind)
                note("\(shards) shards, \(workers) workers, \(features.exchangeName), steps/s", kind, speed)
                Experiments.note("round \(round), \(kind.rawValue): \(Units.fixed(speed, 3)) steps/s")
            }
        }
        var table = TextTable(["what"] + Kind.allCases.map(\.rawValue) + ["control / none", "all / none"])
        for name in names {
            let medians = Kind.allCases.map { Experiments.median(figures[name]?[$0] ?? []) }
            table.add(
                [name] + medians.map { Units.fixed($0, 3) }
                    + medians.dropFirst().map { Units.fixed($0 / medians[0], 3) })
        }
        Experiments.say(table.render())
        Experiments.say(
            "medians of \(rounds) rounds; \(rows) rows of \(features.embeddingSize) numbers per pull and push; training of \(features.classes) × \(features.embeddingSize), r = \(features.sampleRate), B = \(features.batch)"
        )
    }

    /// Row serving between two processes.
    private func serve(_ kind: Kind) throws -> [ServingClient.Result] {
        let directory = Experiments.directory("security")
        defer { try? FileManager.default.removeItem(at: directory) }
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let keys = try kind.encryption.map { try LocalKeys(directory.appending(path: "keys"), encryption: $0) }
        return try OwnProcess.ask(
            [ServingClient.Result].self,
            [
                "serving", "--json", "--dtype", dtype.rawValue, "--rows", "\(rows)", "--size",
                "\(features.embeddingSize)", "--repetitions", "\(repetitions)",
            ] + (keys.map { ["--keys", $0.directory.path, "--encrypt", $0.encryption.rawValue] } ?? []))
    }

    /// Steps per second of a cluster.
    private func train(_ kind: Kind) throws -> Double {
        let world = TrainingRun.World(shards: shards, workers: workers, threads: threads)
        let (seconds, _) = try features.time(steps: steps, world: world, in: "security", encryption: kind.encryption) {
            _ in
        }
        return 1 / seconds
    }
}
