package import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
package import StepProtocol
package import Tensors

/// Second copies of other shards' slices, and what is made of them when their owners are lost.
extension ShardEngine {
    /// A copy that is being made: nothing of it is in memory.
    struct CopyInProgress {
        var writer: SnapshotWriter
        /// The step that a slice without pieces is as of.
        var emptyStep = -1
        /// The oldest step that a piece is as of: the log must reach back to it.
        var oldest = Int.max
    }

    /// The copies that count.
    package var keptCopies: [SliceName: KeptCopy] {
        var copies: [SliceName: KeptCopy] = [:]
        for entry in store?.kept ?? [] {
            copies[entry.slice] = KeptCopy(
                oldest: entry.snapshot.minStep, newest: entry.snapshot.maxStep,
                classVersion: entry.snapshot.classVersion)
        }
        return copies
    }

    /// The dense slices that the map of `plan` has this shard keep copies of: it gets their gradients, and logs them.
    func keptDense(in plan: Plan?) -> SliceSet {
        guard let member, let plan, store != nil else { return [] }
        return plan.shards.first { $0.shard == MemberID(.shard, member) }?.keptDense ?? []
    }

    // MARK: Making

    /// Takes a piece of a copy.
    ///
    /// - Parameter planned: the operations on the classes that the owner has done, by the plan under which it gave the piece.
    /// - Throws: `HeadError` or `CenterStoreError` if it does not fit or cannot be kept: the copy begins anew.
    package func keepChunk(
        _ slice: SliceName, index: Int, count: Int, step: Int, _ payload: [Tensor], classVersion planned: Int
    ) throws {
        guard let store else { throw HeadError(.centers, "this shard logs nothing, and can keep no copy of \(slice)") }
        guard planned == classVersion else {
            throw HeadError(.phase, "a piece of \(slice) comes from before an operation on the classes")
        }
        let shape = shape(of: slice)
        try check(payload, slice, index, of: count)
        var copy =
            try making[slice]
            ?? CopyInProgress(writer: store.beginSnapshot(slice, shape: shape, classVersion: classVersion))
        copy.oldest = min(copy.oldest, step)
        if shape.chunkCount == 0 { copy.emptyStep = step }
        making[slice] = copy
        if shape.chunkCount == 0 { return }
        try withExtendedLifetime(payload) {
            try copy.writer.write(chunk: index, step: step, planes: payload.map(\.bytes))
        }
    }

    /// Makes the copy durable and lets it take the place of an older one.
    ///
    /// - Throws: `HeadError` or `CenterStoreError` if it cannot be: the copy begins anew.
    package func installCopy(of slice: SliceName) throws {
        guard let store, let copy = making.removeValue(forKey: slice) else {
            throw HeadError(.centers, "there is no copy of \(slice) to keep")
        }
        // A piece may have been on its way for long.
        guard copy.oldest >= store.newestStep || store.oldestLoggedStep ?? .max <= copy.oldest + 1 else {
            throw HeadError(
                .phase, "the log begins after step \(copy.oldest), which a piece of the copy of \(slice) is of")
        }
        try store.keepCopy(copy.writer.finish(emptyStep: copy.emptyStep), of: slice)
        dropLog(store)
    }

    /// Gives up the copy of a slice that is being made.
    package func discardCopy(of slice: SliceName) throws {
        try making.removeValue(forKey: slice)?.writer.discard()
    }

    /// Removes a copy that is not this shard's to keep any more.
    package func dropCopy(of slice: SliceName) throws {
        try store?.forgetKept([slice])
        if let store { dropLog(store) }
    }

    // MARK: Promoting

    /// Loads the copies of slices whose owners are lost, and does the steps of the log again on them. They are held, and not this
    /// shard's before the map says so.
    ///
    /// - Throws: `HeadError`, `BackboneError` or `CenterStoreError` naming what is wrong with a copy; none is held then. A copy whose file
    ///   is damaged is forgotten.
    func promote(_ moves: [SliceMove]) throws {
        try makeCurrent(moves.filter { $0.to.number == member }.map(\.slice).sorted())
    }

    /// Makes copies the slices after `committed`, held and not active. Those that are already stay.
    func makeCurrent(_ wanted: [SliceName]) throws {
        let slices = wanted.filter { promoted[$0] != committed }
        if slices.isEmpty { return }
        try dropPromoted(slices)
        // What is on its way here by a move is older, and its sender is lost.
        for slice in slices where copies[slice] != nil { try drop(slice) }
        let start = ContinuousClock.now
        var cost = Restoring()
        do {
            var steps: [SliceName: [Int]] = [:]
            for slice in slices { steps[slice] = try loadCopy(of: slice) }
            cost.loadSeconds = (ContinuousClock.now - start) / .seconds(1)
            cost.replayedSteps = try replayLog(on: &steps)
            cost.replaySeconds = (ContinuousClock.now - start) / .seconds(1) - cost.loadSeconds
        } catch {
            for slice in slices { try? holder(of: slice).remove([slice.number]) }
            throw error
        }
        for slice in slices { promoted[slice] = committed }
        restoring = cost
    }

    /// - Returns: the step that each piece is as of.
    private func loadCopy(of slice: SliceName) throws -> [Int] {
        guard let copy = store?.kept.first(where: { $0.slice == slice })?.snapshot else {
            throw CenterStoreError(.notHeld, "this shard keeps no copy of \(slice)")
        }
        guard copy.classVersion == classVersion else {
            throw CenterStoreError(
                .notHeld,
                "the copy of \(slice) has seen \(copy.classVersion) operations on the classes, the slice \(classVersion)"
            )
        }
        do { return try load(slice, .snapshot(copy)) } catch let error as CenterStoreError where error.code == .damaged
        {
            try? store?.forgetKept([slice])
            throw CenterStoreError(
                .damaged,
                "the second copy of \(slice), \(copy.file), is not what was written: it is removed, and made anew when the owner of "
                    + "the slice is back")
        }
    }

    /// - Returns: the steps that were done again.
    private func replayLog(on steps: inout [SliceName: [Int]]) throws -> Int {
        guard let store, let oldest = steps.values.joined().min() else { return 0 }
        var records = store.records(after: oldest, upTo: committed)
        var expected = oldest + 1
        while let record = try records.next() {
            guard record.isStep else { continue }
            guard record.header.step == expected else { break }
            try replay(record, on: steps.keys, ahead: steps)
            for slice in steps.keys { steps[slice] = steps[slice]?.map { max($0, expected) } }
            expected += 1
        }
        guard expected == committed + 1 else {
            throw CenterStoreError(
                .damaged, "\(store.directory): the log has no record of step \(expected), which copies need")
        }
        return committed - oldest
    }

    /// Lets go what was loaded and is not wanted: the owner has come back.
    func dropPromoted(_ slices: some Collection<SliceName>) throws {
        for slice in slices where promoted.removeValue(forKey: slice) != nil {
            try holder(of: slice).remove([slice.number])
        }
    }
}
