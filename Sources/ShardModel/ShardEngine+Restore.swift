internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

/// The state, made again from the directory.
extension ShardEngine {
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
        // The step that each piece is as of.
        var loaded: [SliceName: [Int]] = [:]
        for entry in store.owned {
            loaded[entry.slice] = try replaySideLog(entry.slice, load(entry.slice, entry.source))
        }
        for entry in store.received {
            let steps = try replaySideLog(entry.slice, load(entry.slice, .snapshot(entry.snapshot)))
            copies[entry.slice] = IncomingSlice(steps: steps, emptyStep: entry.step, isHandedOver: true)
        }
        restoring.loadSeconds = (ContinuousClock.now - start) / .seconds(1)
        guard !store.owned.isEmpty else {
            committed = store.received.map(\.step).max() ?? -1
            return
        }
        try replayLog(&loaded, upTo: last)
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
        (attempts, promoted) = ([], [:])
        for slice in making.keys { try? discardCopy(of: slice) }
    }

    // MARK: Sources

    /// Takes a slice up without activating it.
    ///
    /// - Returns: the step that each piece is as of.
    func load(_ slice: SliceName, _ source: SliceSource) throws -> [Int] {
        guard let store else { return [] }
        switch source {
        case .initial:
            try holder(of: slice).holdInitial(slice.number, setup)
            return Array(repeating: -1, count: shape(of: slice).chunkCount)
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
            try holder(of: slice).hold(slice.number, shape: shape)
            for index in 0..<shape.chunkCount {
                try holder(of: slice).fill(index, ofSlice: slice.number) { planes in
                    try reader.read(chunk: index, into: planes)
                }
            }
            return reader.chunkSteps
        }
    }

    // MARK: Replay

    /// Replays the steps that came with a slice from another shard.
    ///
    /// - Returns: the step that each piece is as of then.
    private func replaySideLog(_ slice: SliceName, _ steps: [Int]) throws -> [Int] {
        guard let store else { return steps }
        var steps = steps
        var records = store.records(receivedWith: slice, after: steps.min() ?? .max - 1)
        while let record = try records.next() {
            guard record.isStep else { continue }
            try replay(record, on: [slice], ahead: [slice: steps])
            steps = steps.map { max($0, record.header.step) }
        }
        return steps
    }

    private func replayLog(_ loaded: inout [SliceName: [Int]], upTo last: Int?) throws {
        guard let store else { return }
        let steps = loaded.values.flatMap { $0 }
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
                    try activate(loaded.keys)
                    return try replayUpToPrepared(current)
                }
                try replay(current, on: loaded.keys, ahead: loaded)
                for slice in loaded.keys { loaded[slice] = loaded[slice]?.map { max($0, step) } }
                committed = max(committed, step)
            }
            record = next
        }
        // Pieces of a snapshot may be of later steps than others: the log must reach as far.
        guard expected > newest else { throw missing(expected) }
        try activate(loaded.keys)
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
}
