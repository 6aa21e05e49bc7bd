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
    enum Way: String, CaseIterable, Sendable { case features, rows }
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

/// A cluster in one process: shards and workers whose payloads are handed over as they would be by wire.
final class HeadRun {
    let configuration: HeadConfiguration
    let spread: Spread
    var shards: [ShardHead]
    var workers: [WorkerHead]

    init(
        _ configuration: HeadConfiguration, _ spread: Spread, memory: TableMemory = .anonymous,
        source: CenterSource? = nil
    ) throws {
        self.configuration = configuration
        self.spread = spread
        shards = try spread.owned(of: configuration.sliceCount).map {
            try ShardHead(
                configuration: configuration, slices: $0, threads: spread.threads, memory: memory, source: source)
        }
        workers = try (0..<spread.workers).map { _ in
            try WorkerHead(configuration: configuration, threads: spread.threads)
        }
    }

    /// Computes a step up to *prepared*.
    func prepare(
        step: Int, features: Tensor, labels: [Int64], learningRate: Float, sampled: [Int64]? = nil
    ) throws -> StepOutcome {
        let g = spread.microBatchSize
        let ranges = evenRanges(labels.count / g, spread.workers)
        for shard in shards { try shard.begin(step: step, microBatchSize: g, labels: labels, sampled: sampled) }
        let batches = ranges.map { range in
            WorkerHead.Batch(
                globalBatchSize: labels.count, microBatchSize: g, microBatches: range,
                labels: Array(labels[range.lowerBound * g..<range.upperBound * g]),
                features: features.rows(range.lowerBound * g..<range.upperBound * g), step: step)
        }
        var outputs: [WorkerHead.Output] = []
        for (worker, batch) in zip(workers, batches) {
            switch spread.exchange {
            case .features:
                let replies = try shards.map {
                    try $0.forward(features: batch.features, microBatches: batch.microBatches)
                }
                outputs.append(try worker.merge(replies: replies, batch: batch))
            case .rows:
                outputs.append(
                    try worker.softmax(
                        pulled: try shards.map { try $0.rowsReply() }, slices: shards.map(\.activeSlices), batch: batch)
                )
            }
        }
        for (k, shard) in shards.enumerated() {
            switch spread.exchange {
            case .features:
                try shard.backward(
                    features: batches.map(\.features), logZ: outputs.map { $0.backward[k][0] },
                    learningRate: learningRate)
            case .rows: try shard.backward(pushed: outputs.map { $0.backward[k] })
            }
            try shard.prepare(learningRate: learningRate)
        }
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
            let (rows, momentum) = try shard.read(ids: ids)
            let (w, v) = (rows.array(Float.self), momentum.array(Float.self))
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

    func commit() throws { for shard in shards { try shard.commit() } }

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
