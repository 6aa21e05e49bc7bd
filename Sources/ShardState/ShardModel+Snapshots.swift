internal import Backbone
internal import CenterStore
internal import Determinism
internal import PartialFC
internal import RunConfiguration
internal import RunSetup
internal import StepProtocol
internal import Tensors

/// Snapshots in the background: piece by piece between steps, so that the log can be dropped.
extension ShardModel {
    /// The step of the oldest snapshot, -1 for the initial state.
    package var snapshotStep: Int { store?.owned.map(\.source.minStep).min() ?? -1 }

    /// Bytes of the log, 0 without one.
    package var logByteCount: Int { store?.logByteCount ?? 0 }

    /// Hears the step that nobody goes back behind any more.
    package func noteSafe(_ step: Int) {
        safe = step
        installSnapshots()
    }

    /// A step was committed: begins a round when the log is long or slow to replay, or goes on with the one under way.
    func advanceSnapshots() {
        guard let store else { return }
        do {
            if snapshots == nil { try beginRound(store) }
            let bytes = snapshotOptions.copyByteCount(stepSeconds: replayCost.secondsPerStep)
            try snapshots?.advance(step: committed, byteCount: bytes) { slice, chunk in
                try copy(ofChunk: chunk, of: slice)
            }
        } catch { abandonRound("\(error)") }
        installSnapshots()
    }

    private func beginRound(_ store: ShardStore) throws {
        let limit = snapshotOptions.logByteCount ?? max(256 << 20, memoryBytes / 2)
        let replaySeconds = Double(committed - snapshotStep) * replayCost.secondsPerStep
        guard store.logByteCount > limit || replaySeconds > snapshotOptions.replaySeconds else { return }
        guard ownsSlices, ContinuousClock.now >= snapshotPause else { return }
        var writers: [SliceName: SnapshotWriter] = [:]
        for slice in slices.numbers.map(SliceName.centers) + denseSlices.numbers.map(SliceName.dense) {
            writers[slice] = try store.beginSnapshot(slice, shape: shape(of: slice), classVersion: classVersion)
        }
        snapshots = SnapshotRound(writers)
    }

    /// A disk that is full may have room later; the log goes on meanwhile.
    private func abandonRound(_ problem: String) {
        snapshots = nil
        snapshotProblem = problem
        snapshotPause = .now + .seconds(10)
    }

    /// Snapshots count from when every shard has durably what they are of: the cluster never goes back behind them.
    private func installSnapshots() {
        guard let store, let round = snapshots else { return }
        if let problem = round.problem { return abandonRound(problem.message) }
        guard let references = round.references, references.values.allSatisfy({ $0.maxStep <= safe }) else { return }
        do {
            var notes = try StoreNotes(store.extra)
            notes.operations = head.registry.operations
            notes.lastTask = lastTask
            try store.install(references, extra: notes.text)
            snapshotProblem = ""
            snapshots = nil
            try store.dropLog(before: store.oldestNeededStep)
        } catch { abandonRound("\(error)") }
    }
}
