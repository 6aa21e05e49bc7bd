internal import CKernels
public import CenterStore
internal import Determinism
public import Tensors

/// The head's part of a step on one shard: samples its slices, answers a worker's forward, collects the backward, updates
/// its rows, and takes the update back when the step is aborted.
///
/// A step goes `begin` → (`forward` | `rowsReply`)… → `backward` → `prepare` → `commit`, with `rollback` possible anywhere.
/// A call that throws leaves the table and the phase as they were. One thread at a time may call; the arithmetic inside
/// runs on `threads` threads. Everything that comes from peers is checked.
public final class ShardHead {
    public let configuration: HeadConfiguration
    public let table: CenterTable
    /// The slices of this shard.
    public var slices: Range<Int> { table.slices }
    /// How far the step is.
    public internal(set) var phase = Phase.idle

    /// How far a step is.
    public enum Phase: String, Sendable, Hashable {
        /// Between steps.
        case idle
        /// Sampled and gathered.
        case begun
        /// The row gradients are complete; the table is unchanged.
        case differentiated
        /// The table is updated and can still be rolled back.
        case prepared
    }

    let layout: SliceLayout
    let blocks: SoftmaxBlocks
    let sliceTree: ReductionTree
    /// The step under way; nil when idle.
    var step: StepState?
    private var idPool = ReusableTensor()
    private var rowPool = ReusableTensor()
    private var momentumPool = ReusableTensor()
    var gradientPool = ReusableTensor()
    var slotPool = ReusableTensor()

    /// What a step needs from begin to commit. `rows` and `momentum` are the gathered copies: the undo record.
    struct StepState {
        var labels: [Int64]
        var microBatchSize: Int
        var microBatchTree: ReductionTree
        var counts: [Int]
        var ids: Tensor
        var rows: Tensor
        var momentum: Tensor
        var sampled: SampledRows
        /// H [S, D], once differentiated.
        var gradient: Tensor?
    }

    /// Creates the shard's table.
    ///
    /// - Throws: `HeadError` if the configuration or the slices are impossible, memory is short, or the file does not fit.
    public init(
        configuration: HeadConfiguration, slices: Range<Int>, threads: Int, source: CenterSource? = nil
    ) throws(HeadError) {
        layout = try configuration.validate()
        guard (1...1024).contains(threads) else {
            throw HeadError(.configuration, "the number of threads is \(threads); it must be in 1...1024")
        }
        self.configuration = configuration
        blocks = SoftmaxBlocks(configuration: configuration, threads: threads)
        sliceTree = ReductionTree(leafCount: configuration.sliceCount)
        do {
            table = try CenterTable(
                layout: layout, embeddingSize: configuration.embeddingSize, slices: slices,
                source: source ?? .random(seed: configuration.seed), parallel: blocks.parallel)
        } catch { throw HeadError(.centers, error.message) }
    }

    /// Memory of the table's rows and momentum, in bytes.
    public var memoryByteCount: Int { table.memoryByteCount }

    /// A content hash of every slice of this shard, in hex.
    public func sliceHashes() -> [Int: String] { table.sliceHashes(parallel: blocks.parallel) }

    /// Rows and momentum f32 [ids.count, D] as they are in the table now.
    ///
    /// - Throws: `HeadError` if a class is not held here.
    public func read(ids: [Int64]) throws(HeadError) -> (rows: Tensor, momentum: Tensor) {
        do { return try table.read(ids: ids) } catch { throw HeadError(.centers, error.message) }
    }

    /// Begins a step: samples the classes and gathers their rows and momentum.
    ///
    /// - Parameters:
    ///   - labels: of the whole global batch, in its order.
    ///   - sampled: the class ids to use instead of sampling, ascending, over all slices.
    /// - Throws: `HeadError` if a step is under way, a label is not a class, the batch is not a whole number of
    ///   micro-batches, or `sampled` is not ascending or lacks a label.
    public func begin(step number: Int, microBatchSize: Int, labels: [Int64], sampled: [Int64]? = nil) throws(HeadError)
    {
        try expect([.idle], "begin")
        guard number >= 0 else { throw HeadError(.malformed, "the step is \(number); steps count from 0") }
        guard microBatchSize > 0, !labels.isEmpty, labels.count % microBatchSize == 0, labels.count <= 1 << 24 else {
            throw HeadError(
                .malformed, "a batch of \(labels.count) samples cannot be cut into micro-batches of \(microBatchSize)")
        }
        try Self.checkLabels(labels[...], first: 0, classCount: configuration.classCount)
        let positives = Set(labels).sorted()
        let choices: [[Int64]]
        if let sampled {
            choices = try explicitChoices(sampled, positives: positives)
        } else {
            choices = sample(step: number, positives: positives)
        }
        let counts = choices.map(\.count)
        let (total, size) = (counts.reduce(0, +), configuration.embeddingSize)
        let ids = idPool.next(Int64.self, shape: [total])
        var offset = 0
        for choice in choices {
            (ids.pointer(Int64.self) + offset).update(from: choice, count: choice.count)
            offset += choice.count
        }
        let rows = rowPool.next(Float.self, shape: [total, size])
        let momentum = momentumPool.next(Float.self, shape: [total, size])
        let base = Int64(table.classes.lowerBound)
        forEachChunk(of: total) { [tableRows = table.rows, tableMomentum = table.momentum] chunk, _ in
            let from = ids.pointer(Int64.self) + chunk.lowerBound
            let to = chunk.lowerBound * size
            pfc_head_gather(tableRows.base, from, base, chunk.count, size, rows.pointer(Float.self) + to)
            pfc_head_gather(tableMomentum.base, from, base, chunk.count, size, momentum.pointer(Float.self) + to)
        }
        let part = SampledRows.Part(slices: slices, counts: counts, ids: ids, rows: rows)
        step = StepState(
            labels: labels, microBatchSize: microBatchSize,
            microBatchTree: ReductionTree(leafCount: labels.count / microBatchSize), counts: counts, ids: ids,
            rows: rows,
            momentum: momentum,
            sampled: SampledRows(layout: layout, embeddingSize: size, parts: [part], parallel: blocks.parallel))
        phase = .begun
    }

    /// The sampled class ids of this shard, ascending. Empty between steps.
    public var sampledIDs: [Int64] { step?.ids.array(Int64.self) ?? [] }

    /// The reply to *begin*: sampled count of each slice, i32.
    public func beginReply() throws(HeadError) -> [Tensor] {
        [Tensor(try current("beginReply").counts.map(Int32.init))]
    }

    /// The reply to *forward* of a `rows` exchange: counts i32, ids i64 [S], rows f32 [S, D]. The tensors stay valid, and
    /// unchanged, as long as someone holds them.
    public func rowsReply() throws(HeadError) -> [Tensor] {
        let step = try current("rowsReply")
        return [Tensor(step.counts.map(Int32.init)), step.ids, step.rows]
    }

    /// Updates the sampled rows in the table: SGD with momentum and weight decay on ∂loss/∂w.
    ///
    /// - Throws: `HeadError` if the gradients are not complete, or a row would not be finite: then nothing has changed.
    public func prepare(learningRate: Float) throws(HeadError) {
        try expect([.differentiated], "prepare")
        guard learningRate.isFinite, learningRate >= 0 else {
            throw HeadError(.malformed, "the learning rate is \(learningRate); it must be a number from 0 up")
        }
        guard let step, let gradient = step.gradient else { return }
        let size = configuration.embeddingSize
        let (momentum, decay) = (Float(configuration.momentum), Float(configuration.weightDecay))
        let (scale, base) = (scaleOverBatch(step), Int64(table.classes.lowerBound))
        let scratch = blocks.threadScratch(2 * Self.chunk * size)
        let bad = Tensor([Int64](repeating: -1, count: (step.ids.count + Self.chunk - 1) / Self.chunk))
        forEachChunk(of: step.ids.count) { [tableRows = table.rows, tableMomentum = table.momentum] chunk, thread in
            let new = scratch[thread].pointer(Float.self)
            let newMomentum = new + chunk.count * size
            let first = chunk.lowerBound * size
            pfc_head_update_rows(
                step.rows.pointer(Float.self) + first, step.momentum.pointer(Float.self) + first,
                gradient.pointer(Float.self) + first, scale, learningRate, momentum, decay, chunk.count, size, new,
                newMomentum)
            let ids = step.ids.pointer(Int64.self) + chunk.lowerBound
            let position = pfc_head_first_nonfinite(new, 2 * chunk.count * size)
            if position >= 0 {
                bad.mutable(Int64.self)[chunk.lowerBound / Self.chunk] = ids[position / size % chunk.count]
            }
            pfc_head_scatter(new, ids, base, chunk.count, size, tableRows.base)
            pfc_head_scatter(newMomentum, ids, base, chunk.count, size, tableMomentum.base)
        }
        if let id = bad.array(Int64.self).first(where: { $0 >= 0 }) {
            restore(step)
            throw HeadError(
                .notFinite,
                "the updated center of class \(id) is not finite: lower the learning rate (\(learningRate)) or clip")
        }
        phase = .prepared
    }

    /// Makes the update final and ends the step.
    ///
    /// - Throws: `HeadError` if the step is not prepared.
    public func commit() throws(HeadError) {
        try expect([.prepared], "commit")
        step = nil
        phase = .idle
    }

    /// Ends the step with the table exactly as it was before. Allowed in any phase.
    public func rollback() {
        if phase == .prepared, let step { restore(step) }
        step = nil
        phase = .idle
    }

    /// ∂loss/∂w f32 [S, D] of the sampled rows, without weight decay, in the order of `sampledIDs`.
    ///
    /// - Throws: `HeadError` if the gradients are not complete.
    public func rowGradients() throws(HeadError) -> Tensor {
        try expect([.differentiated, .prepared], "rowGradients")
        let step = try current("rowGradients")
        let size = configuration.embeddingSize
        let result = Tensor(uninitialized: Float.self, shape: [step.ids.count, size])
        guard let gradient = step.gradient else { return result }
        pfc_head_row_gradient(
            step.rows.pointer(Float.self), gradient.pointer(Float.self), scaleOverBatch(step), step.ids.count, size,
            result.pointer(Float.self))
        return result
    }
}
