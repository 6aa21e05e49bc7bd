internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

/// The state, made again from the directory.
extension ShardEngine {
    /// A slice that was loaded, before the log is replayed on it.
    private struct Loaded {
        /// The step that each piece is as of.
        var steps: [Int]
        var dense: (parameters: Tensor, momentum: Tensor)?
    }

    /// Makes head and dense slices what the directory says: as of `last`, or with the last record applied and not committed.
    ///
    /// - Throws: `CenterStoreError`, `HeadError` or `BackboneError`; the model is of no use then.
    func load(upTo last: Int?) throws {
        try reset()
        guard let store else { return }
        restoring = Restoring()
        let notes = try StoreNotes(store.extra)
        lastTask = notes.lastTask
        (past, mapVersion) = (notes.past ?? 0, store.mapVersion)
        head = try ShardHead(
            configuration: setup.head,
            registry: ClassRegistry(
                classCount: setup.head.classCount, sliceCount: setup.head.sliceCount, operations: notes.operations),
            slices: [], threads: threads,
            memory: memory)
        let start = ContinuousClock.now
        var loaded: [SliceName: Loaded] = [:]
        for entry in store.owned { loaded[entry.slice] = try load(entry.slice, entry.source) }
        for entry in store.received {
            var part = try load(entry.slice, .snapshot(entry.snapshot))
            try replaySideLog(entry.slice, &part)
            copies[entry.slice] = IncomingSlice(
                steps: part.steps, emptyStep: entry.step, dense: part.dense, isHandedOver: true)
        }
        restoring.loadSeconds = (ContinuousClock.now - start) / .seconds(1)
        guard !store.owned.isEmpty else {
            committed = store.received.map(\.step).max() ?? -1
            return
        }
        let centers = SliceSet(numbers: loaded.keys.filter { !$0.isDense }.map(\.number))
        try head.activate(centers)
        for slice in loaded.keys.sorted() {
            guard var part = loaded[slice] else { continue }
            try replaySideLog(slice, &part)
            loaded[slice] = part
        }
        try replayLog(&loaded, centers: centers, upTo: last)
        restoring.replaySeconds = (ContinuousClock.now - start) / .seconds(1) - restoring.loadSeconds
        if restoring.replayedSteps > 0 {
            replayCost = ReplayCost(secondsPerStep: restoring.replaySeconds / Double(restoring.replayedSteps))
        }
    }

    /// Owns nothing, with the classes of the beginning.
    func reset() throws {
        head.rollback()
        try head.remove(head.table.slices)
        head = try ShardHead(configuration: setup.head, slices: [], threads: threads, memory: memory)
        dense = try Self.emptyDense(setup)
        (committed, prepared, copies, recent, snapshots) = (-1, nil, [:], [], nil)
        attempts = []
    }

    // MARK: Sources

    private func load(_ slice: SliceName, _ source: SliceSource) throws -> Loaded {
        guard let store else { return Loaded(steps: []) }
        switch source {
        case .initial:
            let dense = try takeUpInitial(slice)
            return Loaded(steps: Array(repeating: -1, count: shape(of: slice).chunkCount), dense: dense)
        case .snapshot(let reference):
            let reader = try store.openSnapshot(reference, of: slice)
            let shape = reference.shape
            let expected = self.shape(of: slice)
            guard shape.format == expected.format else {
                throw CenterStoreError(
                    .foreign,
                    "\(reader.path) keeps \(shape.format), the configuration \(expected.format): start this shard with an empty directory and restore a checkpoint"
                )
            }
            guard shape.width == expected.width, shape.chunkRows == expected.chunkRows,
                slice.isDense ? shape.rowCount == expected.rowCount : shape.rowCount >= expected.rowCount
            else {
                throw CenterStoreError(
                    .damaged,
                    "\(reader.path): \(shape.rowCount) rows of \(shape.width) in pieces of \(shape.chunkRows); the configuration needs \(expected.rowCount) of \(expected.width) in pieces of \(expected.chunkRows)"
                )
            }
            let dense = try takeUp(slice, shape: shape) { index, rows, momentum in
                try reader.read(chunk: index, rows: rows, momentum: momentum)
            }
            return Loaded(steps: reader.chunkSteps, dense: dense)
        }
    }

    /// Takes a slice up with pieces from `read`, without activating it.
    func takeUp(
        _ slice: SliceName, shape: SliceShape,
        _ read: (_ index: Int, _ rows: UnsafeMutableRawBufferPointer, _ momentum: UnsafeMutableRawBufferPointer) throws
            ->
            Void
    ) throws -> (parameters: Tensor, momentum: Tensor)? {
        switch slice {
        case .centers(let number):
            try head.hold(number, rowCount: shape.rowCount)
            for index in 0..<shape.chunkCount {
                try head.table.withChunk(index, of: number) { rows, momentum in try read(index, rows, momentum) }
            }
            return nil
        case .dense:
            let parameters = Tensor(uninitialized: Float.self, shape: [shape.rowCount])
            let momentum = Tensor(uninitialized: Float.self, shape: [shape.rowCount])
            for index in 0..<shape.chunkCount {
                let range = shape.rows(ofChunk: index)
                func bytes(_ tensor: Tensor) -> UnsafeMutableRawBufferPointer {
                    UnsafeMutableRawBufferPointer(
                        start: tensor.rawPointer + 4 * range.lowerBound, count: 4 * range.count)
                }
                try read(index, bytes(parameters), bytes(momentum))
            }
            return withExtendedLifetime((parameters, momentum)) { (parameters, momentum) }
        }
    }

    /// Takes a slice up at its initial values, without activating it.
    func takeUpInitial(_ slice: SliceName) throws -> (parameters: Tensor, momentum: Tensor)? {
        switch slice {
        case .centers(let number):
            let file = setup.initialCenters
            // Once the classes have changed, a slice begins anew only to be replaced by that of a checkpoint.
            let source: CenterSource =
                head.registry.version > 0
                ? .zeros : file.isEmpty ? .random(seed: setup.head.seed) : .safeTensors(path: file)
            try head.add([number], from: source)
            try head.deactivate([number])
            return nil
        case .dense(let number):
            let part = try DenseShard(
                layout: setup.layout, slices: [number], of: setup.denseSliceCount,
                seed: setup.head.seed, initial: setup.initialBackbone, optimizer: setup.optimizer,
                microBatchCount: setup.microBatchCount)
            return (part.parameters, part.momentum)
        }
    }

    // MARK: Replay

    /// Replays the steps that came with a slice from another shard.
    private func replaySideLog(_ slice: SliceName, _ part: inout Loaded) throws {
        guard let store else { return }
        var records = store.records(receivedWith: slice, after: part.steps.min() ?? .max - 1)
        while let record = try records.next() {
            if record.isStep { try replay(record, on: slice, &part, gradient: record.tensors.first) }
        }
    }

    /// Replays a record on one slice: pieces that are ahead stay as they are.
    private func replay(_ record: LogRecord, on slice: SliceName, _ part: inout Loaded, gradient: Tensor?) throws {
        let step = record.header.step
        guard part.steps.contains(where: { $0 < step }) else { return }
        switch slice {
        case .centers(let number): try replay(record, centers: [number], ahead: [number: part.steps])
        case .dense(let number):
            if let dense = part.dense, record.header.kind != .skip {
                var shard = try Self.denseShard(
                    setup, [number], parameters: dense.parameters, momentum: dense.momentum)
                try replay(record, dense: &shard, ahead: [number: part.steps], gradient: gradient)
                part.dense = (shard.parameters, shard.momentum)
            }
        }
        part.steps = part.steps.map { max($0, step) }
    }

    private func replayLog(_ loaded: inout [SliceName: Loaded], centers: SliceSet, upTo last: Int?) throws {
        guard let store else { return }
        let steps = loaded.values.flatMap(\.steps)
        let (oldest, newest) = (steps.min() ?? store.newestStep, steps.max() ?? store.newestStep)
        committed = newest
        // Operations on the classes come after their step: those of the oldest step are among what is replayed.
        var records = store.records(after: oldest - 1, upTo: last)
        var expected = oldest + 1
        var record = try records.next()
        while let current = record {
            let next = try records.next()
            let step = current.header.step
            note(attempt: current)
            if !current.isStep {
                try replayClasses(current)
            } else if step > oldest {
                guard step == expected else { throw missing(expected) }
                expected += 1
                restoring.replayedSteps += 1
                if next == nil, last == nil, step > newest {
                    try join(loaded)
                    return try replayUpToPrepared(current)
                }
                let ahead = Dictionary(
                    uniqueKeysWithValues: loaded.filter { !$0.key.isDense }.map { ($0.key.number, $0.value.steps) })
                try replay(current, centers: centers, ahead: ahead)
                for slice in loaded.keys {
                    guard var part = loaded[slice] else { continue }
                    if slice.isDense {
                        try replay(current, on: slice, &part, gradient: current.denseGradient)
                    } else {
                        part.steps = part.steps.map { max($0, step) }
                    }
                    loaded[slice] = part
                }
                committed = max(committed, step)
            }
            record = next
        }
        // Pieces of a snapshot may be of later steps than others: the log must reach as far.
        guard expected > newest else { throw missing(expected) }
        try join(loaded)
        if let last, committed != last {
            throw CenterStoreError(
                .notHeld, "\(store.directory) leads to step \(committed), not back to step \(last)")
        }
    }

    private func missing(_ step: Int) -> CenterStoreError {
        CenterStoreError(
            .damaged,
            "\(store?.directory ?? ""): the log has no record of step \(step), which is needed: restore the directory from a backup, or start this shard with an empty one and restore a checkpoint"
        )
    }

    /// The dense slices, one after the other.
    private func join(_ loaded: [SliceName: Loaded]) throws {
        for (slice, part) in loaded.sorted(by: { $0.key < $1.key }) {
            if case .dense(let number) = slice, let values = part.dense {
                try dense.add([number], parameters: values.parameters, momentum: values.momentum)
            }
        }
    }

    private func replayClasses(_ record: LogRecord) throws {
        guard record.header.classVersion > head.registry.version else { return }
        guard record.header.classVersion == head.registry.version + 1 else {
            throw CenterStoreError(
                .damaged,
                "\(store?.directory ?? ""): the log changes the classes to version \(record.header.classVersion) from \(head.registry.version)"
            )
        }
        try head.apply(ClassOperation(json: record.header.operation), rows: record.tensors.first)
    }

    /// The last record may be of a step that the cluster has not committed.
    private func replayUpToPrepared(_ record: LogRecord) throws {
        if record.header.kind != .skip {
            try head.replayUpToPrepared(
                step: record.header.step, microBatchSize: setup.microBatchSize,
                inputs: StepInputs(record), learningRate: record.header.learningRate, sampled: sampled)
            try replay(record, dense: &dense, ahead: [:], gradient: record.denseGradient, commit: false)
        }
        prepared = record.id
    }
}
