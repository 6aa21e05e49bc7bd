internal import CKernels
public import Cluster
internal import Determinism
public import Model
public import ParameterStore
public import Tensors

/// The head's part of a step on one shard: samples its slices, answers a worker's forward, collects the backward, updates
/// its rows, and takes the update back when the step is aborted.
///
/// A step goes `begin` → (`forward` | `rowsReply`)… → `backward` → `prepare` → `commit`, with `rollback` possible anywhere.
/// A call that throws leaves the table and the phase as they were. One thread at a time may call; the arithmetic inside
/// runs on `threads` threads. Everything that comes from peers is checked.
///
/// Steps are over the *active* slices. The table may hold others too, copies on their way here, which steps do not touch.
/// What a slice becomes depends on nothing but itself and the step: not on which slices are active together.
public final class ShardHead {
    public let configuration: HeadConfiguration
    public let table: CenterTable
    /// Which classes there are.
    public private(set) var registry: ClassRegistry
    /// The slices that steps are over.
    public private(set) var activeSlices: SliceSet = []
    /// How far the step is.
    public internal(set) var phase = Phase.idle

    /// How far a step is.
    public enum Phase: String, Sendable, Hashable {
        /// Between steps.
        case idle
        /// Sampled and gathered.
        case begun
        /// The row gradients are complete, and may be in the table already; it can be rolled back.
        case differentiated
        /// The table is updated and can still be rolled back.
        case prepared
    }

    var layout: SliceLayout { registry.layout }
    let blocks: SoftmaxBlocks
    let sliceTree: ReductionTree
    private(set) var sampler: ClassSampler
    /// The step under way; nil when idle.
    var step: StepState?
    var idPool = ReusableTensor()
    var placePool = ReusableTensor()
    var rowPool = ReusableTensor()
    var statePools: [ReusableTensor]
    var gradientPool = ReusableTensor()
    var slotPool = ReusableTensor()
    var exchangePool = ReusableTensor()
    var cosinePool = ReusableTensor()
    let prefetcher = RowPrefetcher()
    /// Whether the classes of the step under way were sampled, so that those of the next one are known.
    private(set) var isSampling = true
    var history = RowHistory()

    /// Creates the shard's table, with `slices` active.
    ///
    /// - Parameters:
    ///   - registry: the classes there are, if operations have changed them since the beginning of the run.
    ///   - memory: where the table is.
    /// - Throws: `HeadError` if the configuration or the slices are impossible, memory is short, or the file does not fit.
    public init(
        configuration: HeadConfiguration, registry: ClassRegistry? = nil, slices: SliceSet, threads: Int,
        memory: TableMemory = .anonymous, source: CenterSource? = nil
    ) throws(HeadError) {
        let registry = try configuration.checkedRegistry(registry)
        guard (1...1024).contains(threads) else {
            throw HeadError(.configuration, "the number of threads is \(threads); it must be in 1...1024")
        }
        self.configuration = configuration
        self.registry = registry
        statePools = configuration.format.state.map { _ in ReusableTensor() }
        sampler = ClassSampler(registry, configuration)
        blocks = SoftmaxBlocks(configuration: configuration, threads: threads)
        sliceTree = ReductionTree(leafCount: configuration.sliceCount)
        do {
            table = try CenterTable(
                layout: registry.layout, embeddingSize: configuration.embeddingSize, format: configuration.format,
                memory: memory, slices: slices, source: source ?? .random(seed: configuration.seed),
                parallel: blocks.parallel)
        } catch { throw HeadError(.centers, error.message) }
        activeSlices = slices
    }

    /// Memory of the table, in bytes.
    public var memoryByteCount: Int { table.memoryByteCount }

    /// A content hash of every active slice, or of some of them, in hex.
    public func sliceHashes(of slices: SliceSet? = nil) -> [Int: String] {
        table.sliceHashes(of: slices ?? activeSlices, parallel: blocks.parallel)
    }

    /// Bytes of a slice in all planes; 0 if it is not held here.
    public func byteCount(ofSlice slice: Int) -> Int { table.memory(of: slice)?.byteCount ?? 0 }

    /// Rows of classes in active slices as they are in the table now, and what the optimiser keeps of them: see `CenterTable.read`.
    ///
    /// - Throws: `HeadError` if a class is not held here.
    public func read(ids: [Int64]) throws(HeadError) -> [Tensor] {
        try Self.storing { () throws(CenterStoreError) in try table.read(ids: ids, in: activeSlices) }
    }

    /// When classes took part in a step last, i64 [ids.count, 2]: that step, and the first step that is known of; -1 for none.
    ///
    /// Committed steps alone. What was before this head was made, and was not replayed since, is not known.
    public func lastSteps(ids: [Int64]) -> Tensor {
        let steps = ids.flatMap { id -> [Int64] in
            guard (0..<Int64(layout.classCount)).contains(id) else { return [-1, -1] }
            let slice = layout.slice(ofClass: Int(id))
            guard let row = layout.classes(of: slice).row(ofClass: Int(id)) else { return [-1, -1] }
            let (step, since) = history.last(slice: slice, row: row)
            return [Int64(step), Int64(since)]
        }
        return Tensor(steps, shape: [ids.count, 2])
    }

    /// Keeps in mind which rows took part in a step.
    func remember(_ step: StepState) {
        history.note(
            step: step.number, slices: step.slices, counts: step.counts, places: step.places.buffer(Int64.self))
        withExtendedLifetime(step.places) {}
    }

    // MARK: Slices

    /// Takes slices up, filled from `source`, and activates them.
    ///
    /// - Throws: `HeadError` if a step is under way, a slice is held already, memory is short, or a file does not fit.
    public func add(_ slices: SliceSet, from source: CenterSource) throws(HeadError) {
        try expect([.idle], "add")
        try Self.storing { () throws(CenterStoreError) in
            try table.add(slices, from: source, parallel: blocks.parallel)
        }
        activeSlices = activeSlices.union(slices)
    }

    /// Takes a slice up without activating it: zeros, to be filled through `table`. Possible while a step is under way.
    ///
    /// - Parameter rowCount: rows of the slice, if it has more than the classes there are here: those of operations that
    ///   `apply` is still to be told of.
    /// - Throws: `HeadError` if the slice is held already or is no slice, or memory is short.
    public func hold(_ slice: Int, rowCount: Int? = nil) throws(HeadError) {
        try Self.storing { () throws(CenterStoreError) in
            if let rowCount {
                try table.add(slice, rowCount: rowCount)
            } else {
                try table.add([slice], from: .zeros, parallel: blocks.parallel)
            }
        }
    }

    /// Includes held slices in the steps from now on.
    ///
    /// - Throws: `HeadError` if a step is under way, or a slice is not held.
    public func activate(_ slices: SliceSet) throws(HeadError) {
        try expect([.idle], "activate")
        guard slices.subtracting(table.slices).isEmpty else {
            throw HeadError(.centers, "slices \(slices.subtracting(table.slices)) are not held here")
        }
        activeSlices = activeSlices.union(slices)
    }

    /// Leaves slices out of the steps from now on. They stay as they are.
    ///
    /// - Throws: `HeadError` if a step is under way.
    public func deactivate(_ slices: SliceSet) throws(HeadError) {
        try expect([.idle], "deactivate")
        activeSlices = activeSlices.subtracting(slices)
    }

    /// Gives slices up with their memory: at any time if they are not active, between steps if they are. Those that are not
    /// held are no matter.
    ///
    /// - Throws: `HeadError` if a step over one of them is under way.
    public func remove(_ slices: SliceSet) throws(HeadError) {
        if !slices.isDisjoint(with: activeSlices) { try expect([.idle], "remove") }
        activeSlices = activeSlices.subtracting(slices)
        table.remove(slices)
        history.forget(slices)
    }

    // MARK: Classes

    /// The rows that `operation` brings from its file, f32 [count, D]; nil if it needs none.
    ///
    /// - Throws: `HeadError` if the file is missing or damaged, or its tensor `centers` is of another shape or not finite.
    public func initialRows(for operation: ClassOperation) throws(HeadError) -> Tensor? {
        guard case .add(let count, let path, _) = operation, !path.isEmpty else { return nil }
        let rows: Tensor
        do { rows = try SafeTensorsFile(path).floats("centers") } catch {
            throw HeadError(.centers, "\(error)")
        }
        guard rows.shape == [count, configuration.embeddingSize] else {
            throw HeadError(
                .centers,
                "\(path): tensor centers has shape \(rows.shape); \(count) new classes need [\(count), \(configuration.embeddingSize)]"
            )
        }
        if let bad = Payload.firstNonFinite(rows, parallel: blocks.parallel) {
            throw HeadError(
                .centers, "\(path): tensor centers is not finite in row \(bad / configuration.embeddingSize)")
        }
        return rows
    }

    /// Changes the classes, between steps. Rows that are there stay as they are; added classes get theirs in every held slice:
    /// from `rows`, or random ones by (seed, class id); what the optimiser keeps is zero. A slice that was taken up with these rows keeps them.
    ///
    /// - Parameter rows: of all added classes f32 [count, D], if the operation names a file (see `initialRows`).
    /// - Throws: `HeadError` if a step is under way, the operation does not fit, rows are missing or not fitting, or memory is
    ///   short. Nothing has changed then.
    public func apply(_ operation: ClassOperation, rows: Tensor? = nil) throws(HeadError) {
        try expect([.idle], "apply")
        var next = registry
        try Self.storing { () throws(CenterStoreError) in try next.apply(operation) }
        if case .add(let count, let path, _) = operation {
            guard path.isEmpty == (rows == nil) else {
                throw HeadError(
                    .malformed,
                    "the rows of \(count) new classes \(rows == nil ? "from \(path) are missing" : "come with no file that they are from")"
                )
            }
            try Self.storing { () throws(CenterStoreError) in
                try table.grow(to: next.layout, rows: rows, seed: configuration.seed, parallel: blocks.parallel)
            }
        }
        registry = next
        sampler = ClassSampler(next, configuration)
    }

    // MARK: Steps

    /// Begins a step: samples the classes and gathers their rows.
    ///
    /// - Parameters:
    ///   - labels: of the whole global batch, in its order. In the run of a job −1 is a sample without class: it has no target and
    ///     gives no gradient.
    ///   - sampled: the class ids to use instead of sampling, ascending, over all slices. Retired ones are passed over.
    ///   - values: of the head in this step, to its end; nil: those of the configuration.
    /// - Throws: `HeadError` if a step is under way, a label is not a class or a retired one, the batch is not a whole number
    ///   of micro-batches, a value is not possible, or `sampled` is not ascending or lacks a label.
    public func begin(
        step number: Int, microBatchSize: Int, labels: [Int64], sampled: [Int64]? = nil, values: HeadValues? = nil
    ) throws(HeadError) {
        try expect([.idle], "begin")
        prefetcher.stop()
        step = try gather(
            step: number, microBatchSize: microBatchSize, labels: labels, slices: activeSlices, sampled: sampled,
            values: values)
        phase = .begun
        isSampling = sampled == nil
    }

    /// Whether the table has an update that may still be taken back.
    public var isTableProvisional: Bool { step?.appliedRate != nil }

    /// The sampled class ids of this shard, slice by slice, ascending in each. Empty between steps.
    public var sampledIDs: [Int64] { step?.ids.array(Int64.self) ?? [] }

    /// The reply to *begin*: sampled count of each active slice, ascending, i32.
    public func beginReply() throws(HeadError) -> [Tensor] {
        [Tensor(try current("beginReply").counts.map(Int32.init))]
    }

    /// The reply to *forward* of a `rows` exchange: counts i32, ids i64 [S], and the rows in the format of the exchange: f32 or
    /// bf16 [S, D], or for int8 u8 [S, ⌈D/4⌉·4 + 4]. The tensors stay valid, and unchanged, as long as someone holds them.
    public func rowsReply() throws(HeadError) -> [Tensor] {
        let step = try current("rowsReply")
        let rows = step.exchanged ?? encodedRows(of: step)
        self.step?.exchanged = rows
        return [Tensor(step.counts.map(Int32.init)), step.ids, rows]
    }

    /// The sampled rows in the format of the exchange.
    private func encodedRows(of step: StepState) -> Tensor {
        let (kept, sent, size) = (configuration.storage, configuration.exchangedRows, configuration.embeddingSize)
        if kept == sent { return step.rows }
        let rows = exchangePool.next(sent.dtype, shape: [step.ids.count, sent.extent(width: size)])
        let scratch = blocks.threadScratch(Self.chunk * size)
        blocks.parallel.forEach(step.units.count) { index, thread in
            let part = step.units[index].rows
            let values = scratch[thread].pointer(Float.self)
            kept.decode(
                step.rows.rawPointer + part.lowerBound * kept.byteCount(width: size), count: part.count, width: size,
                to: values)
            sent.encode(
                values, count: part.count, width: size,
                to: rows.rawPointer + part.lowerBound * sent.byteCount(width: size))
        }
        return rows
    }

    /// Sees to it that the sampled rows in the table are updated by the optimiser with ∂loss/∂w. In a `features`
    /// exchange `backward` has done it.
    ///
    /// - Throws: `HeadError` if the gradients are not complete, the learning rate is another than that of `backward`, or a row
    ///   would not be finite: then nothing has changed.
    public func prepare(learningRate: Float) throws(HeadError) {
        try expect([.differentiated], "prepare")
        let current = try current("prepare")
        if let applied = current.appliedRate {
            guard applied.bitPattern == learningRate.bitPattern else {
                throw HeadError(
                    .malformed, "the learning rate is \(learningRate), and was \(applied) in the backward pass")
            }
        } else if let gradient = current.gradient {
            try update(current, gradient: gradient, learningRate: learningRate)
            step?.appliedRate = learningRate
        }
        phase = .prepared
    }

    /// Makes the update final and ends the step.
    ///
    /// - Throws: `HeadError` if the step is not prepared.
    public func commit() throws(HeadError) {
        try expect([.prepared], "commit")
        if let step { remember(step) }
        step = nil
        phase = .idle
    }

    /// Ends the step with the table exactly as it was before. Allowed in any phase.
    public func rollback() {
        if let step, step.appliedRate != nil { restore(step) }
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
        let scale = scaleOverBatch(step)
        let rows = Tensor(uninitialized: Float.self, shape: [step.ids.count, size])
        configuration.storage.decode(
            step.rows.rawPointer, count: step.ids.count, width: size, to: rows.pointer(Float.self))
        func convert(_ first: Int, _ count: Int, _ h: UnsafePointer<Float>) {
            let at = first * size
            pfc_head_row_gradient(
                rows.pointer(Float.self) + at, h, scale, count, size, result.pointer(Float.self) + at)
        }
        switch step.inputs {
        case .features(_, let features, let logZ, let terms):
            let gradients = try gradients(
                of: step, features: [features], logZ: [logZ], margins: [terms.margins], weights: [terms.weights])
            let list = Shared(convert)
            blocks.gradient(
                samples: gradients.samples, rows: step.sampled, logZ: gradients.logZ, tree: step.microBatchTree,
                nodes: [step.microBatchTree.root]
            ) { tile, _ in
                list.value(
                    step.sampled.slices[tile.position].offset + tile.rows.lowerBound, tile.rows.count, tile.values)
            }
        case .rows(_, _, _, let gradient): convert(0, step.ids.count, gradient.pointer(Float.self))
        case nil: break
        }
        return withExtendedLifetime(rows) { result }
    }

    /// What the step is updated from: what a log keeps. The tensors stay unchanged as long as someone holds them.
    ///
    /// - Throws: `HeadError` if the gradients are not complete.
    public func stepInputs() throws(HeadError) -> StepInputs {
        try expect([.differentiated, .prepared], "stepInputs")
        guard let inputs = try current("stepInputs").inputs else {
            throw HeadError(.phase, "stepInputs before the gradients are complete")
        }
        return inputs
    }

    /// Errors of the store as errors of the head.
    static func storing<Result>(_ body: () throws(CenterStoreError) -> Result) throws(HeadError) -> Result {
        do { return try body() } catch { throw HeadError(.centers, error.message) }
    }
}
