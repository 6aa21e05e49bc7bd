import ArgumentParser
import ClusterHarness
import ClusterKeys
import Foundation
import ParameterStore

/// Training of a large head alone, on synthetic features: what several measurements use.
struct FeatureTraining: ParsableArguments {
    @Option(help: "Classes.")
    var classes = 1_000_000

    @Option(help: "D.")
    var embeddingSize = 512

    @Option(help: "B.")
    var batch = 128

    @Option(help: "r.")
    var sampleRate = 0.1

    @Option(help: "Number of slices.")
    var slices = 64

    @Flag(help: "Rows in bf16, momentum in int8, products in bf16; f32 unless given.")
    var bf16 = false

    @Option(help: "Where the softmax is computed: features or rows.")
    var exchange = "features"

    @Option(help: "How rows travel in the exchange rows: auto, f32, bf16 or int8.")
    var exchangeRows = "auto"

    @Option(help: "How their gradients travel: f32 or bf16.")
    var exchangeGradients = "f32"

    /// Bytes of the rows and their momentum.
    var stateBytes: Int {
        classes * (bf16 ? TableFormat(rows: .bf16, momentum: .int8) : .f32).byteCount(width: embeddingSize)
    }

    /// What travels, in words.
    var exchangeName: String {
        if exchange == "features" { return "features" }
        return "rows \(exchangeRows == "auto" ? (bf16 ? "bf16" : "f32") : exchangeRows), gradients \(exchangeGradients)"
    }

    private var numbers: String {
        ", exchange: \(exchange), exchange_rows: \(exchangeRows), exchange_gradients: \(exchangeGradients)"
            + (bf16 ? ", storage: bf16, momentum_storage: int8" : "")
    }

    /// Starts a training without an end on two shards and a worker, and removes its files afterwards.
    ///
    /// - Parameters:
    ///   - name: of the directory for its files.
    ///   - replaySeconds: `--replay-seconds` of the shards; nil: their default.
    ///   - settings: keys of the configuration to override.
    func withTwoShards(
        _ name: String, replaySeconds: Double?, settings: [String] = [], _ body: (LocalCluster) throws -> Void
    ) throws {
        let directory = Experiments.directory(name)
        let cluster = try LocalCluster(directory: directory)
        defer {
            cluster.stop()
            try? FileManager.default.removeItem(at: directory)
        }
        cluster.shardArguments = replaySeconds.map { ["--replay-seconds", "\($0)"] } ?? []
        try cluster.start(
            configuration: configuration(steps: 1_000_000, in: directory), settings: settings,
            world: .init(shards: 2, workers: 1))
        try body(cluster)
    }

    /// Median seconds of the last steps.
    static func stepSeconds(of cluster: LocalCluster) throws -> Double {
        Experiments.median(try RecordedStep.all(in: cluster.directory).suffix(10).map(\.seconds))
    }

    /// Trains a cluster of real processes.
    ///
    /// - Parameters:
    ///   - name: of the directory for its files, which is removed.
    ///   - measure: called at the last step.
    /// - Returns: the median of the seconds from commit to commit, without the first fifth of the steps, and what `measure` returns.
    func time<Result>(
        steps: Int, world: TrainingRun.World, in name: String, encryption: Encryption? = nil,
        _ measure: (LocalCluster) throws -> Result
    ) throws -> (seconds: Double, Result) {
        let directory = Experiments.directory(name)
        let cluster = try LocalCluster(directory: directory, encryption: encryption)
        defer {
            cluster.stop()
            try? FileManager.default.removeItem(at: directory)
        }
        cluster.shardArguments = ["--durability", "checkpoint"]
        try cluster.start(configuration: configuration(steps: 1_000_000, in: directory), world: world)
        try cluster.waitUntilCommitted(steps, seconds: 1200)
        let result = try measure(cluster)
        let seconds = try RecordedStep.all(in: directory).prefix(steps).dropFirst(steps / 5).map(\.seconds)
        return (Experiments.median(seconds), result)
    }

    /// Writes the features into `directory` and describes a run over them.
    func configuration(steps: Int, in directory: URL) throws -> String {
        let path = directory.appending(path: "features.safetensors")
        try SyntheticData.writeFeatures(
            to: path, samples: 32 * batch, size: embeddingSize, classes: classes, seed: 1)
        return """
            data: {kind: features, path: "\(path.path)", classes: \(classes)}
            backbone: {name: none, embedding_size: \(embeddingSize)}
            head: {scale: 64, m1: 1, m2: 0, m3: 0.4, sample_rate: \(sampleRate), slices: \(slices)\(numbers)}
            batch: {size: \(batch), micro_batch: \(batch / 4)}
            schedule: {steps: \(steps), learning_rate: 0.1}
            evaluation: {held_out_pairs: 0}
            cluster: {lease_seconds: \(FaceTraining.lease)}
            """
    }
}
