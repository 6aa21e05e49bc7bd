public import Cluster
public import Model
internal import ParameterStore
public import Tensors

/// One training step of Partial FC's head on one page, in one process: what shards and workers send each other in a cluster is handed
/// over. The pieces are the cluster's own; any number of shards, workers and threads gives the same bits, in either exchange.
///
/// Notation of docs/mathematics.md: features x_i with labels y_i, centers w_j, sampled classes P, scale s, margin t.
public struct LocalStep {
    /// Who keeps the centers w and what the optimiser knows of them: each some of the slices, together all.
    public var shards: [ShardHead]
    /// Who has the samples: each some of the micro-batches.
    public var workers: [WorkerHead]
    public var exchange: Exchange

    public init(shards: [ShardHead], workers: [WorkerHead], exchange: Exchange = .features) {
        (self.shards, self.workers, self.exchange) = (shards, workers, exchange)
    }

    /// One shard with all slices, and one worker.
    public init(_ configuration: HeadConfiguration, threads: Int) throws(HeadError) {
        let slices = SliceSet(0..<configuration.sliceCount)
        self.init(
            shards: [try ShardHead(configuration: configuration, slices: slices, threads: threads)],
            workers: [try WorkerHead(configuration: configuration, threads: threads)])
    }

    /// The global batch of a step: x f32 [B, D] and y [B]; `sampled`, ascending, instead of a sample; r, m₁ … m₃, s and τ in it.
    public struct Batch {
        public var (number, microBatchSize): (Int, Int)
        public var (features, labels, sampled): (Tensor, [Int64], [Int64]?)
        public var values: HeadValues?

        public init(
            number: Int, features: Tensor, labels: [Int64], microBatchSize: Int, sampled: [Int64]? = nil,
            values: HeadValues? = nil
        ) {
            (self.number, self.microBatchSize) = (number, microBatchSize)
            (self.features, self.labels, self.sampled) = (features, labels, sampled)
            self.values = values
        }
    }

    /// One step: losses and ∂loss/∂x of every worker's samples, and P's centers updated.
    public func train(_ batch: Batch, learningRate: Float) throws -> [WorkerHead.Output] {
        try sample(batch)
        let outputs = try forward(batch)
        try backward(batch, outputs, learningRate: learningRate)
        try update(learningRate: learningRate)
        try commit()
        return outputs
    }

    /// P = every class of the batch, and uniform negatives up to ⌊rC⌋: a function of (seed, step, slice), drawn where the slice is.
    public func sample(_ batch: Batch) throws {
        let (g, y) = (batch.microBatchSize, batch.labels)
        for w in shards {
            try w.begin(step: batch.number, microBatchSize: g, labels: y, sampled: batch.sampled, values: batch.values)
        }
    }

    /// z_ij = s·cos(x_i, w_j), z_iy = s·t(cos(x_i, w_y)); logZ_i = log Σ_{j∈P} exp z_ij, loss_i = logZ_i − z_iy, and ∂loss/∂x_i.
    public func forward(_ batch: Batch) throws -> [WorkerHead.Output] {
        try zip(workers, parts(of: batch)).map { worker, x in
            switch exchange {
            // To the shards go x; back come max z, Σ exp z and Σ exp z·ŵ over their rows, which merge exactly.
            case .features:
                let partial = try shards.map { w in try w.forward(features: x.features, microBatches: x.microBatches) }
                return try worker.merge(replies: partial, batch: x)
            // From the shards come the rows w_j: the worker has the whole softmax, and ∂loss/∂w_j of its samples.
            case .rows:
                let rows = try shards.map { w in try w.rowsReply() }
                return try worker.softmax(pulled: rows, slices: shards.map(\.activeSlices), batch: x)
            }
        }
    }

    /// H_j = Σ_i c_ij (p_ij − [j = y_i]) x̂_i over the whole batch, p_ij = exp(z_ij − logZ_i), of which ∂loss/∂w_j is the projection.
    public func backward(_ batch: Batch, _ outputs: [WorkerHead.Output], learningRate: Float) throws {
        let (x, logZ) = (parts(of: batch).map(\.features), outputs.map(\.logZ))
        for (index, w) in shards.enumerated() {
            switch exchange {
            case .features: try w.backward(features: x, logZ: logZ, learningRate: learningRate)
            case .rows: try w.backward(pushed: outputs.map { $0.backward[index] })
            }
        }
    }

    /// SGD's v_j ← μ v_j + (∂loss/∂w_j + λ w_j), w_j ← w_j − η v_j, or AdamW, for j ∈ P and for no other row. Can be rolled back.
    public func update(learningRate: Float) throws { for w in shards { try w.prepare(learningRate: learningRate) } }

    /// The step counts.
    public func commit() throws { for w in shards { try w.commit() } }

    /// The micro-batches of each worker, in order.
    private func parts(of batch: Batch) -> [WorkerHead.Batch] {
        let (b, g, n) = (batch.labels.count, batch.microBatchSize, workers.count)
        return workers.indices.map { rank in
            let part = b / g * rank / n..<b / g * (rank + 1) / n
            let samples = part.lowerBound * g..<part.upperBound * g
            return WorkerHead.Batch(
                globalBatchSize: b, microBatchSize: g, microBatches: part, labels: Array(batch.labels[samples]),
                features: batch.features.rows(samples), step: batch.number, values: batch.values)
        }
    }
}
