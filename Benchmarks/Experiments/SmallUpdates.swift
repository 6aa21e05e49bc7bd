import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments small-updates`.
struct SmallUpdates: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train a head alone, from centers of length 1 and with a small learning rate: what rounding loses.",
        discussion:
            "The features stay what they are, and most updates are less than half a unit in the last place of a bf16 number: rows rounded to the nearest do not move."
    )

    @Option(help: "C.") var classes = 10_000
    @Option(help: "Classes that have samples.") var present = 256
    @Option(help: "D.") var embeddingSize = 128
    @Option(help: "Steps of every run.") var steps = 1000
    @Option(help: "The learning rate of all steps.") var learningRate = 0.0001

    func run() throws {
        var table = TextTable(["rows/momentum", "loss, first tenth", "loss, last tenth", "fallen by"])
        for kind in RowNumbers.compared {
            let losses = try train(kind)
            let tenth = max(1, losses.count / 10)
            let (first, last) = (mean(losses.prefix(tenth)), mean(losses.suffix(tenth)))
            table.add([kind.name, Units.fixed(first, 3), Units.fixed(last, 3), Units.fixed(first - last, 3)])
        }
        Experiments.say(table.render())
    }

    private func train(_ kind: RowNumbers) throws -> [Double] {
        let directory = Experiments.directory("small-updates")
        defer { try? FileManager.default.removeItem(at: directory) }
        let features = directory.appending(path: "features.safetensors")
        try SyntheticData.writeClusters(
            to: features, samples: 8192, size: embeddingSize, classes: classes, present: present, seed: 1)
        let centers = directory.appending(path: "centers.safetensors")
        try SyntheticData.writeCenters(to: centers, classes: classes, size: embeddingSize, seed: 2)
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        try cluster.start(
            configuration: """
                data: {kind: features, path: "\(features.path)", classes: \(classes)}
                backbone: {name: none, embedding_size: \(embeddingSize)}
                head: {scale: 32, m2: 0, sample_rate: 0.1, exchange: features, initial: "\(centers.path)"}
                batch: {size: 128, micro_batch: 32}
                optimizer: {momentum: 0.9, weight_decay: 0}
                schedule: {steps: \(steps), learning_rate: \(learningRate), warmup: 0, decay_power: 0}
                evaluation: {held_out_pairs: 0}
                """, settings: kind.settings, world: .init(shards: 1, workers: 1))
        try cluster.waitUntilFinished(seconds: 3600)
        return try RecordedStep.all(in: directory).compactMap(\.loss)
    }

    private func mean(_ values: some Collection<Double>) -> Double { values.reduce(0, +) / Double(values.count) }
}
