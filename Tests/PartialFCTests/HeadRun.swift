import Cluster
import Model
import ParameterStore
import PartialFC
import Tensors

/// How a step is spread: none of it may change a bit.
struct Spread: CustomStringConvertible, Sendable {
    var exchange: Way
    var shards: Int
    var workers: Int
    var microBatchSize: Int
    var threads = 1
    /// Whether the slices of a shard lie apart: shard k of n has k, k + n, k + 2n, …
    var scattered = false
    typealias Way = Exchange
    var description: String {
        "\(exchange) \(shards) shards \(workers) workers g=\(microBatchSize) \(threads) threads\(scattered ? ", scattered" : "")"
    }

    /// The slices of each shard.
    func owned(of sliceCount: Int) -> [SliceSet] {
        if scattered { return (0..<shards).map { SliceSet(numbers: stride(from: $0, to: sliceCount, by: shards)) } }
        return evenRanges(sliceCount, shards).map { SliceSet($0) }
    }
}

/// What a step gave, put together from all shards and workers.
struct StepOutcome: Equatable {
    var lossSums: [Double] = []
    var losses: [Double] = []
    var logZ: [Double] = []
    var targetLogit: [Float] = []
    var featureGradient: [Float] = []
    var ids: [Int64] = []
    var rowGradients: [Float] = []
    var rows: [Float] = []
    var momentum: [Float] = []
    var hashes: [Int: String] = [:]
}

func evenRanges(_ total: Int, _ count: Int) -> [Range<Int>] {
    (0..<count).map { total * $0 / count..<total * ($0 + 1) / count }
}

/// `LocalStep` with shards and workers as they are spread, and what its steps give.
final class HeadRun {
    let configuration: HeadConfiguration
    let spread: Spread
    var step: LocalStep
    var shards: [ShardHead] {
        get { step.shards }
        set { step.shards = newValue }
    }
    var workers: [WorkerHead] { step.workers }

    init(
        _ configuration: HeadConfiguration, _ spread: Spread, memory: TableMemory = .anonymous,
        source: CenterSource? = nil
    ) throws {
        self.configuration = configuration
        self.spread = spread
        let shards = try spread.owned(of: configuration.sliceCount).map {
            try ShardHead(
                configuration: configuration, slices: $0, threads: spread.threads, memory: memory, source: source)
        }
        let workers = try (0..<spread.workers).map { _ in
            try WorkerHead(configuration: configuration, threads: spread.threads)
        }
        step = LocalStep(shards: shards, workers: workers, exchange: spread.exchange)
    }

    /// Computes a step up to *prepared*.
    func prepare(
        step number: Int, features: Tensor, labels: [Int64], learningRate: Float, sampled: [Int64]? = nil,
        values: HeadValues? = nil
    ) throws -> StepOutcome {
        let batch = LocalStep.Batch(
            number: number, features: features, labels: labels, microBatchSize: spread.microBatchSize, sampled: sampled,
            values: values)
        try step.sample(batch)
        let outputs = try step.forward(batch)
        try step.backward(batch, outputs, learningRate: learningRate)
        try step.update(learningRate: learningRate)
        var outcome = StepOutcome()
        for output in outputs {
            outcome.lossSums += output.lossSums
            outcome.losses += output.losses.array(Double.self)
            outcome.logZ += output.logZ.array(Double.self)
            outcome.targetLogit += output.targetLogit.array(Float.self)
            outcome.featureGradient += output.featureGradient.array(Float.self)
        }
        // By class, whoever held it.
        let size = configuration.embeddingSize
        var found: [(id: Int64, gradient: [Float], row: [Float], momentum: [Float])] = []
        for shard in shards {
            let ids = shard.sampledIDs
            let gradients = try shard.rowGradients().array(Float.self)
            let planes = try shard.read(ids: ids)
            let (w, v) = (planes[0].array(Float.self), planes[1].array(Float.self))
            for (index, id) in ids.enumerated() {
                let part = index * size..<(index + 1) * size
                found.append((id, Array(gradients[part]), Array(w[part]), Array(v[part])))
            }
            outcome.hashes.merge(shard.sliceHashes()) { a, _ in a }
        }
        for entry in found.sorted(by: { $0.id < $1.id }) {
            outcome.ids.append(entry.id)
            outcome.rowGradients += entry.gradient
            outcome.rows += entry.row
            outcome.momentum += entry.momentum
        }
        return outcome
    }

    func commit() throws { try step.commit() }

    /// The first steps of a run: everything that comes out.
    static func outcomes(_ configuration: HeadConfiguration, _ spread: Spread, steps: Int) throws -> [StepOutcome] {
        let run = try HeadRun(configuration, spread)
        return try (0..<steps).map { step in
            let batch = makeBatch(configuration, size: 24, step: step)
            let outcome = try run.prepare(
                step: step, features: batch.features, labels: batch.labels, learningRate: 0.1)
            try run.commit()
            return outcome
        }
    }
}
