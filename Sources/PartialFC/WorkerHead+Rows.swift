internal import CKernels
internal import CenterStore
public import Determinism
public import Tensors

extension WorkerHead {
    /// Computes a `rows` exchange from every shard's rows.
    ///
    /// - Parameters:
    ///   - pulled: of every shard, sampled count of each of its slices i32, ids i64 [S], rows [S, D] in the format
    ///     of the table.
    ///   - slices: of every shard, in the same order.
    /// - Throws: `HeadError` if slices are missing or double, shapes or ids do not fit, or a number is not finite.
    public func softmax(pulled: [[Tensor]], slices: [SliceSet], batch: Batch) throws(HeadError) -> Output {
        let (size, parallel) = (configuration.embeddingSize, blocks.parallel)
        let samples = try sampleSet(batch)
        let parts = try parts(pulled, slices: slices)
        let rows = SampledRows(layout: layout, embeddingSize: size, parts: parts, parallel: parallel)
        try samples.findTargets(in: rows, margin: configuration.kernelMargin, parallel: parallel)
        let n = samples.count
        let targets = Targets(samples: n, size: size)
        for sample in 0..<n {
            let numerator = targets.numerators.pointer(Float.self) + sample * size
            guard samples.targetNumerator(sample, in: rows, into: numerator) else { continue }
            targets.logits.mutable(Float.self)[sample] = samples.targetLogit.buffer(Float.self)[sample]
        }

        let scratch = slotPool.next(Float.self, shape: [rows.slices.count, n * (size + 2)])
        let slots = rows.slices.indices.map { PartialSlot(scratch, $0, samples: n, size: size) }
        blocks.forward(samples: samples, rows: rows, slots: slots)
        var leaves: [ReductionTree.Node: Int] = [:]
        for (index, slice) in rows.slices.enumerated() {
            leaves[ReductionTree.Node(level: 0, index: slice.number)] = index
        }
        var steps: [MergeStep] = []
        let root = PartialSoftmax.plan(
            sliceTree, leaves, at: sliceTree.root, writable: slots.count, steps: &steps
        ) { slots.count }
        guard let root else { throw HeadError(.malformed, "slices are missing from the shards' rows") }
        PartialSoftmax(samples: n, microBatchSize: batch.microBatchSize, embeddingSize: size)
            .merge(slots, steps, parallel: parallel)
        var output = try finish(samples, batch, slots[root], targets)
        output.backward = pushes(samples: samples, rows: rows, parts: parts, batch: batch, logZ: output.logZ)
        return output
    }

    /// Micro-batch nodes and row gradients f32 [K, S, D] for every shard.
    private func pushes(
        samples: SampleSet, rows: SampledRows, parts: [SampledRows.Part], batch: Batch, logZ: Tensor
    ) -> [[Tensor]] {
        let size = configuration.embeddingSize
        let tree = ReductionTree(leafCount: batch.globalBatchSize / batch.microBatchSize)
        let nodes = tree.subtrees(of: batch.microBatches)
        let gradients = parts.map {
            Tensor(uninitialized: Float.self, shape: [nodes.count, $0.rows.shape[0], size])
        }
        let destinations = nodes.indices.map { k in
            rows.slices.map { slice in
                gradients[slice.part].pointer(Float.self)
                    + (k * parts[slice.part].rows.shape[0] + slice.offset) * size
            }
        }
        let targets = Shared(destinations)
        blocks.gradient(samples: samples, rows: rows, logZ: logZ, tree: tree, nodes: nodes) { tile, _ in
            (targets.value[tile.node][tile.position] + tile.rows.lowerBound * size)
                .update(from: tile.values, count: tile.rows.count * size)
        }
        return gradients.map { [Payload.tensor(of: nodes), $0] }
    }

    /// Checks the shards' rows.
    private func parts(_ pulled: [[Tensor]], slices: [SliceSet]) throws(HeadError) -> [SampledRows.Part] {
        guard pulled.count == slices.count else {
            throw HeadError(.malformed, "rows of \(pulled.count) shards, expected \(slices.count)")
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
        var parts: [SampledRows.Part] = []
        for (index, payload) in pulled.enumerated() {
            parts.append(try part(payload, slices: slices[index], from: "shard \(index)"))
        }
        return parts
    }

    private func part(_ payload: [Tensor], slices: SliceSet, from sender: String) throws(HeadError)
        -> SampledRows.Part
    {
        let size = configuration.embeddingSize
        let slices = slices.numbers
        try Payload.expect(payload, count: 3, from: sender)
        try Payload.check(payload[0], "sampled counts", .i32, [slices.count], from: sender)
        let counts = payload[0].buffer(Int32.self).map(Int.init)
        var total = 0
        for (slice, count) in zip(slices, counts) {
            let classes = layout.classes(of: slice)
            guard (0...classes.count).contains(count) else {
                throw HeadError(
                    .malformed, "\(sender) sampled \(count) of the \(classes.count) classes of slice \(slice)")
            }
            total += count
        }
        try Payload.check(payload[1], "ids", .i64, [total], from: sender)
        try Payload.check(payload[2], "rows", configuration.format.rows.dtype, [total, size], from: sender)
        let ids = payload[1].buffer(Int64.self)
        var offset = 0
        for (slice, count) in zip(slices, counts) {
            let classes = layout.classes(of: slice)
            var least: Int64 = 0
            for id in ids[offset..<offset + count] {
                guard id >= least, classes.contains(Int(id)) else {
                    throw HeadError(
                        .malformed,
                        "\(sender) sent class \(id) in slice \(slice), which has classes \(classes), or out of order")
                }
                least = id + 1
            }
            offset += count
        }
        if let bad = Payload.firstNonFinite(payload[2], parallel: blocks.parallel) {
            throw HeadError(.notFinite, "the center of class \(ids[bad / size]) from \(sender) is not finite")
        }
        return SampledRows.Part(slices: slices, counts: counts, ids: payload[1], rows: payload[2])
    }
}
