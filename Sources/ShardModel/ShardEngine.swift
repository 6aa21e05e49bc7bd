package import Cluster
internal import Model
package import ParameterStore
internal import PartialFC
package import StepProtocol
package import Tensors

/// The numbers of a shard and the directory that keeps them: executes what the state machine asks for, in order.
///
/// One thread at a time may call. With a store every step is logged before its update is answered, and whatever the shard
/// owns can be computed from the directory again; without one the state ends with the process.
package final class ShardEngine {
    let setup: ShardSetup
    let threads: Int
    let memory: TableMemory
    /// Nil if steps are not logged.
    let store: ShardStore?
    /// Tells while the disk keeps the model waiting, and stops that.
    package let gate: DiskGate
    /// The classes that replace random negatives, if the configuration lists them.
    let sampled: [Int64]?
    var head: ShardHead
    var dense: DenseShard

    /// The last committed step.
    package internal(set) var committed = -1
    /// The step that is applied and not committed.
    package internal(set) var prepared: StepID?
    /// The last boundary task that was done and needs no other acknowledgement than that it is.
    package internal(set) var lastTask = 0
    /// This shard's number, once the coordinator has given one: what a plan's map says of it is what it may own.
    package var member: Int?
    /// The past that the state is of, 0 if it has none, and the slice map.
    var past: UInt64 = 0
    var mapVersion = 0
    /// The attempts that the newest steps are of, in the log or in memory.
    var attempts: [StepID] = []
    /// Where the directory is, and what tells it from a copy.
    let place: (text: String, identity: UInt64)
    /// How the state was made from the directory.
    package internal(set) var restoring = Restoring()

    /// Slices on their way here.
    var copies: [SliceName: IncomingSlice] = [:]
    /// Second copies of other shards' slices that are being made.
    var making: [SliceName: CopyInProgress] = [:]
    /// Copies that are loaded and not owned yet, and the step that each is as of.
    var promoted: [SliceName: Int] = [:]
    /// The sum of the gradients of dense slices that this shard keeps copies of, and which they are.
    private var keptGradient: (sum: Tensor, slices: SliceSet)?
    /// The last records of a shard that keeps none on disk, for those who receive its slices.
    var recent: [LogRecord] = []
    var snapshots: SnapshotRound?
    /// The last order that was checked and is not done.
    var checked: CheckedOrder?
    let snapshotOptions: SnapshotOptions
    var replayCost = ReplayCost()
    /// The step that the plan says nobody goes back behind.
    var safe = -1
    /// No snapshot is begun before this, after one failed.
    var snapshotPause = ContinuousClock.now
    package internal(set) var snapshotProblem = ""
    /// How many rounds failed, and why the last one did.
    var snapshotFailures = (count: 0, last: "")
    /// Files of the log that snapshots have replaced could not be removed yet.
    var isLogToBeDropped = false

    // Of the step in hand.
    private var exchange = Exchange.features
    /// That of the attempt that was begun last.
    private var learningRate: Float = 0
    /// The values of the head in it; nil: those of the configuration.
    private var values: HeadValues?
    private var ranges: [Range<Int>] = []

    /// How long it took to make the state again: at the start, or of second copies since.
    package struct Restoring: Sendable {
        package var loadSeconds = 0.0
        package var replaySeconds = 0.0
        package var replayedSteps = 0

        package init() {}
    }

    /// Makes the state that the directory describes: without a store, or with an empty one, a shard that owns nothing.
    ///
    /// - Parameter memory: where class centers are.
    /// - Throws: `CenterStoreError`, `HeadError` or `BackboneError` if the directory is damaged or does not fit the run, or
    ///   memory is short.
    package init(
        setup: ShardSetup, store: ShardStore?, threads: Int, memory: TableMemory = .anonymous,
        gate: DiskGate = DiskGate(), snapshots: SnapshotOptions = SnapshotOptions()
    ) throws {
        self.setup = setup
        self.threads = threads
        self.memory = memory
        self.store = store
        member = store?.identity?.member
        place = store.map { ($0.place, $0.directoryIdentity) } ?? ("", 0)
        self.gate = gate
        snapshotOptions = snapshots
        let list = setup.sampledClasses
        sampled =
            list.isEmpty ? nil : try SafeTensors(contentsOf: list).tensor("sampled", .i64, in: list).array(Int64.self)
        head = try ShardHead(configuration: setup.head, slices: [], threads: threads, memory: memory)
        dense = try Self.emptyDense(setup)
        try load(upTo: nil)
    }

    /// Bytes of everything that is held.
    package var memoryBytes: Int {
        head.memoryByteCount + dense.memoryBytes
    }

    /// The slices that steps are over.
    package var slices: SliceSet { head.activeSlices }
    package var denseSlices: SliceSet { dense.slices }
    package var ownsSlices: Bool { !(slices.isEmpty && denseSlices.isEmpty) }
    package var classVersion: Int { head.registry.version }

    /// Executes a computation.
    ///
    /// - Parameter plan: the one that is followed.
    /// - Returns: its result, nil for `rollback`, `commit` and `own`.
    /// - Throws: `Refusal` if it refuses its input; nothing was changed then, or `rollback` puts it back.
    package func perform(
        _ id: StepID, _ computation: ShardComputation<[Tensor]>, plan: Plan?
    ) throws(Refusal) -> ShardResult<[Tensor]>? {
        let start = ContinuousClock.now
        defer { replayCost.add(.now - start) }
        do { return try execute(id, computation, plan) } catch { throw Refusal(error) }
    }

    private func execute(
        _ id: StepID, _ computation: ShardComputation<[Tensor]>, _ plan: Plan?
    ) throws -> ShardResult<[Tensor]>? {
        switch computation {
        case .sample(let ranks, let learningRate, let exchange, let values):
            replayCost.beginStep()
            (self.exchange, self.learningRate) = (exchange, learningRate)
            // What a record does not say is what the configuration has.
            self.values = values == setup.head.values ? nil : values
            try head.begin(
                step: id.step, microBatchSize: setup.microBatchSize, labels: labels(of: ranks),
                sampled: sampled, values: values)
            return .sample(try head.beginReply())
        case .forward(let rank, let microBatches, let payload):
            if exchange == .rows { return .forward(rank: rank, try head.rowsReply()) }
            let (features, margins) = try pair(payload, "the features of rank \(rank)")
            return .forward(
                rank: rank, try head.forward(features: features, microBatches: microBatches, margins: margins))
        case .backward(let forward, let backward):
            // The batch is in order of micro-batches, whatever order the ranks are in.
            let order = ranges.indices.sorted { ranges[$0].lowerBound < ranges[$1].lowerBound }
            if exchange == .rows {
                try head.backward(pushed: backward)
            } else {
                let features = try order.map { rank in
                    try forward[rank].map { try pair($0, "the features of rank \(rank)") }
                }
                let logZ = try order.enumerated().flatMap { position, rank in
                    let normalizers = try pair(backward[rank], "the normalizers of rank \(rank)")
                    return try split(normalizers, as: features[position].map(\.0), of: rank)
                }
                let parts = features.flatMap(\.self)
                try head.backward(
                    features: parts.map(\.0), logZ: logZ.map(\.0), margins: parts.map(\.1), weights: logZ.map(\.1),
                    learningRate: learningRate)
            }
            return .backward
        case .dense(let pushed):
            let kept = keptDense(in: plan)
            if kept.isEmpty { return .dense(try dense.dense(pushed: pushed, step: id.step)) }
            let (own, others) = try divide(pushed)
            keptGradient = (try dense.sum(of: kept, pushed: others, step: id.step), kept)
            return .dense(try dense.dense(pushed: own, step: id.step))
        case .update(let payload, let learningRate):
            return .update(try update(id, squaredNorm: try squaredNorm(payload), learningRate: learningRate))
        case .parameters(let rank): return .parameters(rank: rank, [dense.parameters])
        case .rollback:
            head.rollback()
            dense.rollback()
            (prepared, keptGradient) = (nil, nil)
            return nil
        case .commit:
            try commit(id)
            return nil
        case .own(let slices, let denseSlices, let mapVersion):
            try own(slices, denseSlices, mapVersion: mapVersion, plan: plan)
            return nil
        case .task: throw HeadError(.phase, "a boundary task has no result of a step")
        }
    }

    // MARK: Commit and update

    /// Applies the update and logs what it was made from: only then may anyone hear that the step is prepared.
    private func update(_ id: StepID, squaredNorm: Double, learningRate: Float) throws -> [Tensor] {
        try head.prepare(learningRate: learningRate)
        let reply = try dense.update(
            step: id.step, totalSquaredNorm: squaredNorm, learningRate: Double(learningRate))
        let inputs = try head.stepInputs()
        guard var gradient = dense.gradient else { throw BackboneError(.wrongPhase, "the update has no gradient") }
        var logged = denseSlices
        if let keptGradient {
            gradient = dense.merged(gradient, of: denseSlices, keptGradient.sum, of: keptGradient.slices)
            logged = denseSlices.union(keptGradient.slices)
        }
        keptGradient = nil
        let header = LogRecord.Header(
            term: id.term, step: id.step, attempt: id.attempt, kind: inputs.kind, learningRate: learningRate,
            head: values, squaredNorm: squaredNorm, slices: slices, denseSlices: logged, classVersion: classVersion)
        try keep(LogRecord(header: header, tensors: inputs.tensors + [dense.logged(gradient)]), of: id)
        prepared = id
        return reply
    }

    /// Logs a step. Waits while the disk does not take it, unless the attempt is given up meanwhile.
    private func keep(_ record: LogRecord, of id: StepID) throws {
        guard let store else {
            remember(record)
            return note(attempt: record)
        }
        try gate.retry(id) { () throws(CenterStoreError) in try store.append(record) }
        note(attempt: record)
    }

    func remember(_ record: LogRecord) {
        recent.removeAll { $0.header.step >= record.header.step }
        recent.append(record)
        if recent.count > Self.recentLimit { recent.removeFirst() }
    }

    /// Records that a shard without a log keeps: a receiver that is further behind begins anew.
    static let recentLimit = 12

    private func commit(_ id: StepID) throws {
        guard let prepared, prepared.step == id.step else {
            throw HeadError(.phase, "\(id) is to be committed, and \(prepared.map { "\($0)" } ?? "nothing") is applied")
        }
        // A step without effect was applied without either.
        if head.phase == .prepared {
            try head.commit()
            dense.commit()
        }
        committed = id.step
        self.prepared = nil
        replayCost.endStep()
        advanceSnapshots()
    }

    // MARK: Reading

    package var embeddingSize: Int { setup.head.embeddingSize }

    /// Hashes of everything that is owned.
    package func hashes() -> SliceHashes {
        SliceHashes(step: committed, slices: head.sliceHashes(), denseSlices: denseHashes())
    }

    /// Hashes of slices of class centers that are owned.
    func sliceHashes(of slices: SliceSet) -> [Int: String] { head.sliceHashes(of: slices) }

    /// Hashes of the dense slices that are owned.
    func denseHashes() -> [Int: String] {
        Dictionary(uniqueKeysWithValues: zip(dense.slices.numbers, dense.contentHashes()))
    }

    /// Bytes of a slice of class centers.
    func byteCount(ofSlice slice: Int) -> Int { head.byteCount(ofSlice: slice) }

    /// Rows of some classes and the first plane that the optimiser keeps of them, and when they took part in a step.
    ///
    /// - Throws: `Refusal` if a class is not held here.
    func read(ids: [Int64]) throws(Refusal) -> (rows: Tensor, kept: Tensor, steps: Tensor) {
        do {
            let planes = try head.read(ids: ids)
            return (planes[0], planes[1], head.lastSteps(ids: ids))
        } catch { throw Refusal(error) }
    }

    // MARK: The step in hand

    /// The labels of the global batch, in order of micro-batches.
    private func labels(of ranks: [ShardRankInput<[Tensor]>]) throws -> [Int64] {
        let size = setup.microBatchSize
        for (rank, input) in ranks.enumerated() {
            let labels = try single(input.payload, "the labels of rank \(rank)")
            guard labels.dtype == .i64, labels.shape == [input.microBatches.count * size] else {
                throw HeadError(
                    .malformed,
                    "the labels of rank \(rank) are \(labels.dtype) \(labels.shape), expected i64 [\(input.microBatches.count * size)]"
                )
            }
        }
        ranges = ranks.map(\.microBatches)
        return ranks.sorted { $0.microBatches.lowerBound < $1.microBatches.lowerBound }.flatMap {
            $0.payload[0].array(Int64.self)
        }
    }

    /// The squared norm of the whole backbone gradient. Where there is no backbone nobody need say it.
    private func squaredNorm(_ payload: [Tensor]) throws -> Double {
        if payload.isEmpty, setup.layout.count == 0 { return 0 }
        let norm = try single(payload, "the squared norm")
        guard norm.dtype == .f64, norm.shape == [1] else {
            throw HeadError(.malformed, "the squared norm is \(norm.dtype) \(norm.shape), expected f64 [1]")
        }
        return norm.array(Double.self)[0]
    }

    /// A tensor and, in the run of a job, what it says of each sample beside, if it does.
    private func pair(_ payload: [Tensor], _ what: String) throws -> (Tensor, Tensor?) {
        if setup.head.servesJob, payload.count == 2 { return (payload[0], payload[1]) }
        return (try single(payload, what), nil)
    }

    /// What a rank says of all its samples at once, in the parts in which their features came.
    private func split(_ whole: (Tensor, Tensor?), as features: [Tensor], of rank: Int) throws -> [(Tensor, Tensor?)] {
        if features.count < 2 { return [whole] }
        let count = features.reduce(0) { $0 + ($1.shape.first ?? 0) }
        guard whole.0.shape == [count], whole.1.map({ $0.shape == [count] }) ?? true else {
            throw HeadError(
                .malformed,
                "normalizers and weights of rank \(rank) are \(whole.0.shape) and \(whole.1?.shape ?? [count]), expected [\(count)]"
            )
        }
        var end = 0
        return features.map { part in
            let range = end..<end + (part.shape.first ?? 0)
            end = range.upperBound
            return (whole.0.rows(range), whole.1?.rows(range))
        }
    }

    /// The gradients of its own dense slices, and those of slices that it keeps copies of: a third tensor of each rank.
    private func divide(_ pushed: [[Tensor]]) throws -> (own: [[Tensor]], others: [[Tensor]]) {
        for (rank, tensors) in pushed.enumerated() where tensors.count != 3 {
            throw HeadError(
                .malformed,
                "the dense gradients of rank \(rank) are \(tensors.count) tensors, expected 3: this shard keeps copies")
        }
        return (pushed.map { [$0[0], $0[1]] }, pushed.map { [$0[0], $0[2]] })
    }

    private func single(_ payload: [Tensor], _ what: String) throws -> Tensor {
        guard payload.count == 1 else {
            throw HeadError(.malformed, "\(what) are \(payload.count) tensors, expected 1")
        }
        return payload[0]
    }

    static func emptyDense(_ setup: ShardSetup) throws -> DenseShard {
        try DenseShard(
            layout: setup.layout, slices: [], of: setup.denseSliceCount, seed: setup.head.seed,
            optimizer: setup.optimizer, microBatchCount: setup.microBatchCount,
            exchangedGradients: setup.exchangedDenseGradients)
    }
}
