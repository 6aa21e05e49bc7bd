internal import CKernels
public import Cluster
internal import Determinism
public import Model
public import ParameterStore
public import Tensors

/// The head's part of a step on one worker: from the shards' answers to loss, ∂loss/∂x and what goes back to them.
///
/// Stateless between steps. One thread at a time may call; the arithmetic inside runs on `threads` threads. Everything that
/// comes from shards is checked. Both exchanges give the same bits.
public final class WorkerHead {
    public let configuration: HeadConfiguration
    /// Which classes there are.
    public private(set) var registry: ClassRegistry
    var layout: SliceLayout { registry.layout }
    let blocks: SoftmaxBlocks
    let sliceTree: ReductionTree
    var slotPool = ReusableTensor()
    /// Rows that are decoded and gradients on their way.
    let pool = TensorPool()

    /// - Throws: `HeadError` if the configuration is impossible, or `registry` is of another run.
    public init(
        configuration: HeadConfiguration, registry: ClassRegistry? = nil, threads: Int
    ) throws(HeadError) {
        self.registry = try configuration.checkedRegistry(registry)
        guard (1...1024).contains(threads) else {
            throw HeadError(.configuration, "the number of threads is \(threads); it must be in 1...1024")
        }
        self.configuration = configuration
        blocks = SoftmaxBlocks(configuration: configuration, threads: threads)
        sliceTree = ReductionTree(leafCount: configuration.sliceCount)
    }

    /// Takes over the classes after operations, between steps.
    ///
    /// - Throws: `HeadError` if `registry` is of another run.
    public func adopt(_ registry: ClassRegistry) throws(HeadError) {
        self.registry = try configuration.checkedRegistry(registry)
    }

    /// The rank's part of the global batch.
    public struct Batch: Sendable {
        /// Samples of the global batch B.
        public var globalBatchSize: Int
        /// Samples per micro-batch g.
        public var microBatchSize: Int
        /// The micro-batches of this rank; may be empty.
        public var microBatches: Range<Int>
        /// Class of each of the rank's n samples.
        public var labels: [Int64]
        /// x f32 [n, D].
        public var features: Tensor
        /// Number of the step: rounding of gradients on their way is keyed by it.
        public var step: Int
        /// The values of the head in the step; nil: those of the configuration.
        public var values: HeadValues?

        public init(
            globalBatchSize: Int, microBatchSize: Int, microBatches: Range<Int>, labels: [Int64], features: Tensor,
            step: Int, values: HeadValues? = nil
        ) {
            self.globalBatchSize = globalBatchSize
            self.microBatchSize = microBatchSize
            self.microBatches = microBatches
            self.labels = labels
            self.features = features
            self.step = step
            self.values = values
        }
    }

    /// What a step gives on a worker.
    public struct Output: Sendable {
        /// Sum of the losses of each of the rank's micro-batches.
        public var lossSums: [Double]
        /// Loss of each sample, f64 [n].
        public var losses: Tensor
        /// log Σ exp z over the sampled classes, f64 [n].
        public var logZ: Tensor
        /// s·t of the label, f32 [n].
        public var targetLogit: Tensor
        /// ∂loss/∂x of the mean loss over the global batch, f32 [n, D].
        public var featureGradient: Tensor
        /// The *backward* payload of each shard, in the order of the replies.
        public var backward: [[Tensor]]
    }

    /// Finishes a `features` exchange from every shard's reply to *forward* (see `ShardHead.forward`).
    ///
    /// - Throws: `HeadError` if a slice or target is missing or came twice, shapes do not fit, or a number is not finite.
    public func merge(replies: [[Tensor]], batch: Batch) throws(HeadError) -> Output {
        let samples = try sampleSet(batch)
        let (n, size) = (samples.count, configuration.embeddingSize)
        let targets = Targets(samples: n, size: size)
        var all: [ReductionTree.Node] = []
        var slots: [PartialSlot] = []
        var parts: [ReductionTree.Node: Int] = [:]
        for (index, reply) in replies.enumerated() {
            let sender = "shard \(index)"
            try Payload.expect(reply, count: 7, from: sender)
            let nodes = try Payload.nodes(reply[0], of: sliceTree, from: sender)
            try Payload.check(reply[1], "maximum", .f32, [nodes.count, n], from: sender)
            try Payload.check(reply[2], "sum", .f32, [nodes.count, n], from: sender)
            try Payload.check(reply[3], "numerator", .f32, [nodes.count, n, size], from: sender)
            try checkFinite(
                maximum: reply[1], sum: reply[2], numerator: reply[3], first: firstSample(batch), from: sender)
            try targets.take(reply[4], reply[5], reply[6], first: firstSample(batch), from: sender)
            for (k, node) in nodes.enumerated() {
                parts[node] = slots.count
                slots.append(
                    PartialSlot(
                        maximum: reply[1].pointer(Float.self) + k * n, sum: reply[2].pointer(Float.self) + k * n,
                        numerator: reply[3].pointer(Float.self) + k * n * size))
            }
            all += nodes
        }
        try Payload.checkCover(all, of: sliceTree, leaf: "slice")
        try targets.checkComplete(labels: batch.labels, first: firstSample(batch))
        // Replies belong to their messages: merged values go to memory of our own.
        var steps: [MergeStep] = []
        let received = slots.count
        var made = 0
        let root = PartialSoftmax.plan(sliceTree, parts, at: sliceTree.root, writable: 0, steps: &steps) {
            made += 1
            return received + made - 1
        }
        guard let root else { throw HeadError(.malformed, "slices are missing from the shards' replies") }
        let scratch = slotPool.next(Float.self, shape: [made, n * (size + 2)])
        for index in 0..<made { slots.append(PartialSlot(scratch, index, samples: n, size: size)) }
        PartialSoftmax(samples: n, microBatchSize: batch.microBatchSize, embeddingSize: size)
            .merge(slots, steps, parallel: blocks.parallel)
        var output = try finish(samples, batch, slots[root], targets)
        output.backward = replies.map { _ in [output.logZ] }
        return output
    }

    /// The rank's samples, after a check of the batch.
    func sampleSet(_ batch: Batch) throws(HeadError) -> SampleSet {
        let (b, g) = (batch.globalBatchSize, batch.microBatchSize)
        guard g > 0, b > 0, b % g == 0, batch.microBatches.lowerBound >= 0, batch.microBatches.upperBound <= b / g
        else {
            throw HeadError(
                .malformed, "micro-batches \(batch.microBatches) of \(g) samples are no part of a batch of \(b)")
        }
        try registry.checkLabels(batch.labels[...], first: firstSample(batch))
        return try SampleSet(
            features: [batch.features], labels: batch.labels[...], microBatchSize: g, microBatches: batch.microBatches,
            embeddingSize: configuration.embeddingSize, values: batch.values ?? configuration.values,
            parallel: blocks.parallel)
    }

    func firstSample(_ batch: Batch) -> Int { batch.microBatches.lowerBound * batch.microBatchSize }

    /// Loss, logZ and ∂x from the partial softmax over all slices.
    func finish(
        _ samples: SampleSet, _ batch: Batch, _ root: PartialSlot, _ targets: Targets
    ) throws(HeadError) -> Output {
        let (n, size, g) = (samples.count, configuration.embeddingSize, samples.microBatchSize)
        let losses = Tensor(uninitialized: Double.self, shape: [n])
        let logZ = Tensor(uninitialized: Double.self, shape: [n])
        let gradient = Tensor(uninitialized: Float.self, shape: [n, size])
        let scale = (batch.values ?? configuration.values).scale / Double(batch.globalBatchSize)
        blocks.parallel.forEach(samples.microBatches.count) { block, _ in
            let first = block * g
            let wide = first * size
            pfc_head_finish(
                g, size, scale, samples.features.pointer(Float.self) + wide, root.maximum + first, root.sum + first,
                root.numerator + wide, targets.logits.pointer(Float.self) + first,
                targets.numerators.pointer(Float.self) + wide, losses.pointer(Double.self) + first,
                logZ.pointer(Double.self) + first, gradient.pointer(Float.self) + wide)
        }
        for sample in 0..<n {
            guard losses.buffer(Double.self)[sample].isFinite, logZ.buffer(Double.self)[sample].isFinite else {
                throw HeadError(
                    .notFinite, "the loss of sample \(firstSample(batch) + sample) of the batch is not finite")
            }
        }
        if let bad = Payload.firstNonFinite(gradient, parallel: blocks.parallel) {
            throw HeadError(
                .notFinite,
                "the gradient by the feature of sample \(firstSample(batch) + bad / size) of the batch is not finite")
        }
        var lossSums = [Double](repeating: 0, count: samples.microBatches.count)
        for sample in 0..<n { lossSums[sample / g] += losses.buffer(Double.self)[sample] }
        return Output(
            lossSums: lossSums, losses: losses, logZ: logZ, targetLogit: targets.logits, featureGradient: gradient,
            backward: [])
    }

    /// Checks what `merge` rests on: sums from 0 up, and a maximum wherever there is a sum.
    func checkFinite(
        maximum: Tensor, sum: Tensor, numerator: Tensor, first: Int, from sender: String
    ) throws(HeadError) {
        let (n, size) = (maximum.shape[1], configuration.embeddingSize)
        let (maxima, sums) = (maximum.buffer(Float.self), sum.buffer(Float.self))
        for index in maxima.indices {
            let (m, s) = (maxima[index], sums[index])
            guard s.isFinite, s >= 0, m.isFinite || (m == -.infinity && s == 0) else {
                throw HeadError(
                    .notFinite,
                    "the partial softmax of sample \(first + index % n) of the batch from \(sender) has maximum \(m) and sum \(s)"
                )
            }
        }
        if let bad = Payload.firstNonFinite(numerator, parallel: blocks.parallel) {
            throw HeadError(
                .notFinite,
                "the partial softmax numerator of sample \(first + bad / size % n) of the batch from \(sender) is not finite"
            )
        }
    }
}
