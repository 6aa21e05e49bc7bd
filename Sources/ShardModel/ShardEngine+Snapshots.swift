internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

/// Snapshots in the background: piece by piece between steps, so that the log can be dropped.
extension ShardEngine {
    /// The step of the oldest snapshot, -1 for the initial state.
    package var snapshotStep: Int { store?.owned.map(\.source.minStep).min() ?? -1 }

    /// Bytes of the log, 0 without one.
    package var logByteCount: Int { store?.logByteCount ?? 0 }

    /// Hears the step that nobody goes back behind any more.
    package func noteSafe(_ step: Int) {
        safe = step
        installSnapshots()
    }

    /// What is wrong with the disk although steps go on, or empty.
    package var diskProblem: String {
        var problems: [String] = []
        if !snapshotProblem.isEmpty {
            problems.append("no snapshot can be written, so that the log grows: \(snapshotProblem); tried again")
        }
        if let problem = store?.syncProblem { problems.append("the log cannot be synced: \(problem); tried again") }
        return problems.joined(separator: "; ")
    }

    /// How often something went wrong with the disk, and what it was the last time.
    package var diskIncidents: (count: Int, last: String) {
        let (syncs, last) = store?.syncIncidents ?? (0, "")
        return (syncs + snapshotFailures.count, last.isEmpty ? snapshotFailures.last : last)
    }

    /// Files that nobody needed and that were removed from the directory.
    package var removedLeftovers: Int { store?.removedLeftovers ?? 0 }

    /// Whether a step is lost from the log that was not synced: only a restart, which goes back, makes that good.
    package var isLogLost: Bool { store?.isLogLost ?? false }

    /// Makes good what went wrong with the disk, as far as it can be, and removes what was left behind: to be called now and then,
    /// between computations.
    package func tend() {
        guard let store else { return }
        // It stays the store's problem.
        try? store.tend()
        installSnapshots()
        if isLogToBeDropped { dropLog(store) }
    }

    /// A step was committed: begins a round when the log is long or slow to replay, or goes on with the one under way.
    func advanceSnapshots() {
        guard let store else { return }
        if snapshots == nil { beginRound(store) }
        do {
            let bytes = snapshotOptions.copyByteCount(stepSeconds: replayCost.secondsPerStep)
            try snapshots?.advance(
                step: committed, byteCount: bytes,
                begin: { try store.beginSnapshot($0, shape: shape(of: $0), classVersion: classVersion) },
                copy: { slice, chunk in try holder(of: slice).copy(ofChunk: chunk, ofSlice: slice.number) })
        } catch { abandonRound("\(error)") }
        installSnapshots()
    }

    private func beginRound(_ store: ShardStore) {
        let limit = snapshotOptions.logByteCount ?? max(256 << 20, memoryBytes / 2)
        let replaySeconds = Double(committed - snapshotStep) * replayCost.secondsPerStep
        guard store.logByteCount > limit || replaySeconds > snapshotOptions.replaySeconds else {
            // Whatever made a round fail, none is needed any more.
            snapshotProblem = ""
            return
        }
        guard ownsSlices, ContinuousClock.now >= snapshotPause else { return }
        snapshots = SnapshotRound(ownedSlices)
    }

    /// A disk that is full may have room later; the log goes on meanwhile.
    private func abandonRound(_ problem: String) {
        snapshots = nil
        snapshotProblem = problem
        snapshotFailures = (snapshotFailures.count + 1, "no snapshot could be written: \(problem)")
        snapshotPause = .now + snapshotOptions.pause
    }

    /// Snapshots count from when every shard has durably what they are of: the cluster never goes back behind them.
    private func installSnapshots() {
        guard let store, let round = snapshots else { return }
        if let problem = round.problem { return abandonRound(problem.message) }
        guard let references = round.references else { return }
        snapshotProblem = ""
        guard references.values.allSatisfy({ $0.maxStep <= safe }) else { return }
        do {
            var notes = try StoreNotes(store.extra)
            notes.operations = head.registry.operations
            notes.lastTask = lastTask
            try store.install(references, extra: notes.text)
            snapshots = nil
        } catch { return abandonRound("\(error)") }
        dropLog(store)
        store.sweep()
    }

    func dropLog(_ store: ShardStore) {
        do {
            // A copy that is being made needs the log from its oldest piece on.
            let needed = min(store.oldestNeededStep - 1, making.values.map(\.oldest).min() ?? .max) + 1
            try store.dropLog(before: needed)
            if isLogToBeDropped { snapshotProblem = "" }
            isLogToBeDropped = false
        } catch {
            isLogToBeDropped = true
            snapshotProblem = "the log cannot be shortened: \(error)"
        }
    }
}
