internal import CKernels
public import Cluster
internal import Determinism
public import Model
internal import ParameterStore
public import Tensors

extension WorkerHead {
    /// Begins a `rows` exchange, to compute with rows as they come in.
    ///
    /// - Throws: `HeadError` if the batch is impossible.
    public func beginRows(_ batch: Batch) throws(HeadError) -> RowsExchange {
        let samples = try sampleSet(batch)
        let memory = slotPool.next(Float.self, shape: [RowsExchange.floatCount(layout, samples: samples)])
        return RowsExchange(
            configuration: configuration, layout: layout, blocks: blocks, samples: samples, memory: memory, pool: pool)
    }

    /// Computes a `rows` exchange from every shard's rows.
    ///
    /// - Parameters:
    ///   - pulled: of every shard, sampled count of each of its slices i32, ids i64 [S], rows in the format of the exchange
    ///     (see `ShardHead.rowsReply`).
    ///   - slices: of every shard, in the same order.
    ///   - begun: of the same batch, if rows have been computed with while they came in. It is of no use afterwards.
    /// - Throws: `HeadError` if slices are missing or double, shapes or ids do not fit, or a number is not finite.
    public func softmax(
        pulled: [[Tensor]], slices: [SliceSet], batch: Batch, begun: RowsExchange? = nil
    ) throws(HeadError) -> Output {
        try checkCover(slices, shards: pulled.count)
        let exchange: RowsExchange
        if let begun, begun.continues(with: pulled) { exchange = begun } else { exchange = try beginRows(batch) }
        for (shard, payload) in pulled.enumerated() { try exchange.take(payload, of: shard, slices: slices[shard]) }
        let (samples, targets) = (exchange.samples, exchange.targets())
        let root = try exchange.merge(along: sliceTree)
        var output = try finish(samples, batch, root, targets)
        output.backward = pushes(exchange, batch: batch, logZ: output.logZ)
        return output
    }

    /// Micro-batch nodes and row gradients f32 or bf16 [K, S, D] for every shard.
    private func pushes(_ exchange: RowsExchange, batch: Batch, logZ: Tensor) -> [[Tensor]] {
        let (size, format, rows) = (configuration.embeddingSize, configuration.exchangedGradients, exchange.rows)
        let tree = ReductionTree(leafCount: batch.globalBatchSize / batch.microBatchSize)
        let nodes = tree.subtrees(of: batch.microBatches)
        let counts = exchange.rowCounts
        let gradients = counts.map { pool.tensor(format.dtype, [nodes.count, $0, size]) }
        let destinations = nodes.indices.map { k in
            rows.slices.map { slice in
                gradients[slice.part].rawPointer
                    + (k * counts[slice.part] + slice.offset) * format.byteCount(width: size)
            }
        }
        let targets = Shared(destinations)
        blocks.gradient(
            samples: exchange.samples, rows: rows, logZ: Normalizers(logZ), tree: tree, nodes: nodes,
            rounding: configuration.gradientRounding(step: batch.step)
        ) { tile, _ in
            let row = tile.rows.lowerBound * format.byteCount(width: size)
            format.encode(
                tile.values, count: tile.rows.count, width: size, to: targets.value[tile.node][tile.position] + row)
        }
        return gradients.map { [Payload.tensor(of: nodes), $0] }
    }

    /// Checks that the shards have each slice once.
    private func checkCover(_ slices: [SliceSet], shards: Int) throws(HeadError) {
        guard shards == slices.count else {
            throw HeadError(.malformed, "rows of \(shards) shards, expected \(slices.count)")
        }
        var next = 0
        for range in slices.flatMap(\.ranges).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            guard range.lowerBound == next, range.upperBound <= layout.sliceCount else {
                throw HeadError(
                    .malformed, "the shards' slices \(slices) are not the \(layout.sliceCount) slices, each once")
            }
            next = range.upperBound
        }
        guard next == layout.sliceCount else {
            throw HeadError(.malformed, "slice \(next) of \(layout.sliceCount) is missing: nobody sent it")
        }
    }
}
