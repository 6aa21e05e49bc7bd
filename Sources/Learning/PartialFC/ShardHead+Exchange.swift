internal import CKernels
internal import Determinism
public import Model
internal import ParameterStore
public import Tensors

extension ShardHead {
    /// Answers a rank's features: the partial softmax over this shard's sampled rows.
    ///
    /// - Parameters:
    ///   - features: f32 [n, D], n = micro-batch size × micro-batches.
    ///   - microBatches: of the rank.
    ///   - margins: m1, m2 and m3 of each sample's target logit, f32 [n, 3]; nil for those of the step. Only in the run of
    ///     a job.
    /// - Returns: slice nodes i32 [K, 2]; maximum f32 [K, n], sum f32 [K, n] and numerator f32 [K, n, D] over the classes
    ///   that are not the sample's label; target samples i32 [T], target logit f32 [T], target numerator f32 [T, D].
    /// - Throws: `HeadError` if nothing has begun, shapes do not fit, margins are impossible, or a feature is not finite.
    public func forward(
        features: Tensor, microBatches: Range<Int>, margins: Tensor? = nil
    ) throws(HeadError) -> [Tensor] {
        let step = try current("forward")
        let (g, size, parallel) = (step.microBatchSize, configuration.embeddingSize, blocks.parallel)
        guard microBatches.lowerBound >= 0, microBatches.upperBound <= step.microBatchTree.leafCount else {
            throw HeadError(
                .malformed,
                "micro-batches \(microBatches) are not all among the \(step.microBatchTree.leafCount) of the batch")
        }
        let samples = try SampleSet(
            features: [features], labels: step.labels[microBatches.lowerBound * g..<microBatches.upperBound * g],
            microBatchSize: g, microBatches: microBatches, embeddingSize: size, margins: [margins],
            values: step.values, parallel: parallel)
        try samples.findTargets(in: step.sampled, parallel: parallel)
        let (nodes, n) = (sliceTree.subtrees(of: step.sliceSet), samples.count)
        let maximum = Tensor(uninitialized: Float.self, shape: [nodes.count, n])
        let sum = Tensor(uninitialized: Float.self, shape: [nodes.count, n])
        let numerator = Tensor(uninitialized: Float.self, shape: [nodes.count, n, size])

        // The first leaf of each node works in the reply itself, the others in scratch memory.
        let scratch = slotPool.next(Float.self, shape: [step.slices.count - nodes.count, n * (size + 2)])
        var slots: [PartialSlot] = []
        var steps: [MergeStep] = []
        for (k, node) in nodes.enumerated() {
            var leaves: [ReductionTree.Node: Int] = [:]
            for leaf in sliceTree.leaves(of: node) {
                leaves[ReductionTree.Node(level: 0, index: leaf)] = slots.count
                if leaf == sliceTree.leaves(of: node).lowerBound {
                    slots.append(
                        PartialSlot(
                            maximum: maximum.pointer(Float.self) + k * n, sum: sum.pointer(Float.self) + k * n,
                            numerator: numerator.pointer(Float.self) + k * n * size))
                } else {
                    slots.append(PartialSlot(scratch, slots.count - k - 1, samples: n, size: size))
                }
            }
            let slotCount = slots.count
            _ = PartialSoftmax.plan(sliceTree, leaves, at: node, writable: slotCount, steps: &steps) { slotCount }
        }
        blocks.forward(
            samples: samples, rows: step.sampled, positions: step.sampled.slices.indices, slots: slots,
            kept: try keptCosines())
        PartialSoftmax(samples: n, microBatchSize: g, embeddingSize: size).merge(slots, steps, parallel: parallel)
        return [Payload.tensor(of: nodes), maximum, sum, numerator] + targets(of: samples, in: step.sampled)
    }

    /// The entries of the samples whose class is held here.
    private func targets(of samples: SampleSet, in rows: SampledRows) -> [Tensor] {
        let size = samples.embeddingSize
        let held = (0..<samples.count).filter { samples.targetSlice.buffer(Int32.self)[$0] >= 0 }
        let logits = Tensor(held.map { samples.targetLogit.buffer(Float.self)[$0] })
        let numerators = Tensor(uninitialized: Float.self, shape: [held.count, size])
        for (index, sample) in held.enumerated() {
            _ = samples.targetNumerator(sample, in: rows, into: numerators.pointer(Float.self) + index * size)
        }
        return [Tensor(held.map(Int32.init)), logits, numerators]
    }

    /// Room for the cosines of the step, made when the first rank asks.
    private func keptCosines() throws(HeadError) -> KeptCosines? {
        let current = try current("forward")
        if current.kept == nil {
            step?.kept = KeptCosines(
                configuration.compute, microBatchCount: current.microBatchTree.leafCount,
                microBatchSize: current.microBatchSize, rowCount: current.ids.count, pool: &cosinePool)
        }
        return step?.kept
    }

    /// Completes a `features` exchange: row gradients and the update of the sampled rows, in one pass. Until `commit` it can
    /// be taken back.
    ///
    /// - Parameters:
    ///   - features: f32 [n, D] of every rank, in order of rank: the whole batch.
    ///   - logZ: f64 [n] of every rank. That of samples without class does not count.
    ///   - margins: of every rank, as in `forward`.
    ///   - weights: of every rank, f32 [n] from 0 up, what the gradient of each sample is multiplied by; nil for 1. A sample without
    ///     class weighs 0.
    ///   - learningRate: that of `prepare`.
    /// - Throws: `HeadError` if the step is not begun, shapes do not fit, or a number is not finite or a weight negative; nothing has
    ///   changed then.
    public func backward(
        features: [Tensor], logZ: [Tensor], margins: [Tensor?] = [], weights: [Tensor?] = [], learningRate: Float
    ) throws(HeadError) {
        try expect([.begun], "backward")
        let current = try current("backward")
        let gradients = try gradients(
            of: current, features: features, logZ: logZ, margins: margins, weights: weights)
        try update(current, gradients, learningRate: learningRate)
        step?.inputs = gradients.inputs
        step?.appliedRate = learningRate
        phase = .differentiated
    }

    /// What the row gradients of a `features` exchange are computed from.
    struct FeatureGradients {
        var samples: SampleSet
        var logZ: Normalizers
        var inputs: StepInputs
    }

    /// Checks what ranks have sent.
    func gradients(
        of step: StepState, features: [Tensor], logZ: [Tensor], margins: [Tensor?], weights: [Tensor?]
    ) throws(HeadError) -> FeatureGradients {
        let (parallel, tree) = (blocks.parallel, step.microBatchTree)
        guard features.count == logZ.count else {
            throw HeadError(.malformed, "features of \(features.count) ranks and normalizers of \(logZ.count)")
        }
        let samples = try SampleSet(
            features: features, labels: step.labels[...], microBatchSize: step.microBatchSize,
            microBatches: 0..<tree.leafCount, embeddingSize: configuration.embeddingSize, margins: margins,
            values: step.values, parallel: parallel)
        let weights = try SampleTerms.weights(weights, counts: features.map { $0.shape[0] }, labels: step.labels[...])
        let normalizers = Tensor(uninitialized: Double.self, shape: [samples.count])
        var offset = 0
        for (rank, part) in logZ.enumerated() {
            try Payload.check(part, "logZ", .f64, [features[rank].shape[0]], from: "rank \(rank)")
            for value in part.buffer(Double.self) {
                let hasClass = step.labels[offset] >= 0
                guard value.isFinite || !hasClass else {
                    throw HeadError(.notFinite, "logZ of sample \(offset) of the batch is \(value)")
                }
                normalizers.mutable(Double.self)[offset] = hasClass ? value : 0
                offset += 1
            }
        }
        try samples.findTargets(in: step.sampled, parallel: parallel)
        if let weights { samples.weighTargets(weights) }
        return FeatureGradients(
            samples: samples, logZ: Normalizers(normalizers, weights: weights, labels: step.labels),
            inputs: .features(
                labels: Tensor(step.labels), features: samples.features, logZ: normalizers,
                terms: SampleTerms(margins: samples.margins, weights: weights)))
    }

    /// Completes the row gradients of a `rows` exchange.
    ///
    /// - Parameter pushed: of every rank, micro-batch nodes i32 [K, 2] and row gradients f32 or bf16 [K, S, D].
    /// - Throws: `HeadError` if the step is not begun, shapes do not fit, a micro-batch is missing or was sent twice, or a
    ///   gradient is not finite.
    public func backward(pushed: [[Tensor]]) throws(HeadError) {
        try expect([.begun], "backward")
        let step = try current("backward")
        let (tree, size, count) = (step.microBatchTree, configuration.embeddingSize, step.ids.count)
        let parallel = blocks.parallel
        var all: [ReductionTree.Node] = []
        var parts: [ReductionTree.Node: Tensor] = [:]
        for (rank, payload) in pushed.enumerated() {
            try Payload.expect(payload, count: 2, from: "rank \(rank)")
            let nodes = try Payload.nodes(payload[0], of: tree, from: "rank \(rank)")
            try Payload.check(
                payload[1], "the row gradient", configuration.exchangedGradients.dtype, [nodes.count, count, size],
                from: "rank \(rank)")
            for (k, node) in nodes.enumerated() { parts[node] = payload[1].rows(k..<k + 1) }
            all += nodes
        }
        try Payload.checkCover(all, of: tree, leaf: "micro-batch")
        for node in all {
            guard let part = parts[node], let bad = Payload.firstNonFinite(part, parallel: parallel) else {
                continue
            }
            throw HeadError(
                .notFinite,
                "the gradient of the center of class \(step.ids.buffer(Int64.self)[bad / size]) is not finite")
        }
        let gradient = gradientPool.next(Float.self, shape: [count, size])
        let (known, format) = (parts, configuration.exchangedGradients)
        let rounding = configuration.gradientRounding(step: step.number)
        let scratch = blocks.threadScratch(max(tree.root.level, 1) * Self.chunk * size)
        parallel.forEach(step.units.count) { index, thread in
            let unit = step.units[index]
            let (first, length) = (unit.rows.lowerBound * size, unit.rows.count * size)
            TreeSum.add(
                tree, tree.root, into: gradient.pointer(Float.self) + first,
                stack: scratch[thread].pointer(Float.self), length: length,
                round: { node, values in
                    rounding?.round(
                        values, of: node, ids: step.ids.pointer(Int64.self) + unit.rows.lowerBound,
                        count: unit.rows.count, size: size)
                }
            ) { node, out in
                guard let part = known[node] else { return false }
                let row = UnsafeRawPointer(part.rawPointer) + unit.rows.lowerBound * format.byteCount(width: size)
                format.decode(row, count: unit.rows.count, width: size, to: out)
                return true
            }
        }
        try checkFinite(gradient: gradient, of: step)
        self.step?.gradient = gradient
        self.step?.inputs = .rows(
            labels: Tensor(step.labels), slices: step.sliceSet, counts: Tensor(step.counts.map(Int32.init)),
            gradient: gradient)
        phase = .differentiated
    }

    /// Checks finished row gradients H.
    func checkFinite(gradient: Tensor, of step: StepState) throws(HeadError) {
        if let position = Payload.firstNonFinite(gradient, parallel: blocks.parallel) {
            let id = step.ids.buffer(Int64.self)[position / configuration.embeddingSize]
            throw HeadError(.notFinite, "the gradient of the center of class \(id) is not finite")
        }
    }
}

extension PartialSlot {
    /// Slot `index` of a tensor with n·(D + 2) floats per slot.
    init(_ memory: Tensor, _ index: Int, samples: Int, size: Int) {
        let base = memory.pointer(Float.self) + index * samples * (size + 2)
        self.init(numerator: base, maximum: base + samples * size, sum: base + samples * (size + 1))
    }

    private init(
        numerator: UnsafeMutablePointer<Float>, maximum: UnsafeMutablePointer<Float>, sum: UnsafeMutablePointer<Float>
    ) {
        self.init(maximum: maximum, sum: sum, numerator: numerator)
    }
}
