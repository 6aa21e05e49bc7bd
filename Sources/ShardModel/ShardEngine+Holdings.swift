internal import Cluster
internal import Foundation
internal import Model
package import ParameterStore
package import StepProtocol

/// What the shard says of what it holds, so that the coordinator can tell its directory from a copy.
extension ShardEngine {
    /// What is held now, by the directory if there is one.
    var holdings: ShardHoldings {
        if let store {
            var holdings = store.holdings(
                place, recent: attempts, lastTask: lastTask, classVersion: classVersion)
            holdings.past = past
            return holdings
        }
        let copies = handedOver.keys
        return ShardHoldings(
            slices: slices, denseSlices: denseSlices, received: copies.centers,
            receivedDense: copies.dense, mapVersion: mapVersion, classVersion: classVersion, past: past,
            lastTask: lastTask, isSynced: false, recent: attempts.filter { $0.step <= prepared?.step ?? committed })
    }

    /// Notes which attempt of its step was logged, or done without a log.
    func note(attempt record: LogRecord) {
        guard record.isStep else { return }
        attempts.removeAll { $0.step >= record.header.step }
        attempts.append(record.attempt)
        if attempts.count > ShardHoldings.recentLimit { attempts.removeFirst() }
    }

    /// The slices that the map of `plan` gives to this shard.
    ///
    /// - Throws: `HeadError` if this shard has no number yet.
    func slices(in plan: Plan) throws -> Set<SliceName> {
        guard let member else { throw HeadError(.phase, "this shard has no number yet") }
        return plan.shards.first { $0.shard == MemberID(.shard, member) }?.names ?? []
    }

    /// Hears the plan that is followed: the step that nobody goes back behind any more. A directory of an earlier version learns the
    /// name of its past when its steps go on.
    package func hear(_ plan: Plan) {
        noteSafe(plan.safe)
        if case .task(let task) = plan.activity, case .promote = task.kind {
        } else if plan.mapVersion == mapVersion {
            try? dropPromoted(promoted.keys.sorted())  // the lost owner is back
        }
        guard past == 0, plan.past != 0, ownsSlices, plan.activity == .train, plan.committed == committed else {
            return
        }
        if let store {
            guard var notes = try? StoreNotes(store.extra) else { return }
            notes.past = plan.past
            // Tried again with the next plan.
            guard (try? store.setExtra(notes.text)) != nil else { return }
        }
        past = plan.past
    }
}

extension ShardStore {
    /// What a shard with this directory says of its state before it has read it.
    package var state: ShardState {
        let notes = try? StoreNotes(extra)
        var holdings = holdings(
            (place, directoryIdentity), recent: recentAttempts, lastTask: notes?.lastTask ?? 0,
            classVersion: max(notes?.operations.count ?? 0, newestClassVersion))
        holdings.past = notes?.past ?? 0
        return state(holdings)
    }

    /// What a shard with this directory says of its state.
    func state(_ holdings: ShardHoldings) -> ShardState {
        let hasSlices = !owned.isEmpty || !received.isEmpty
        guard !owned.isEmpty else {
            let newest = received.map(\.step).max() ?? -1
            return ShardState(
                newest: newest, oldest: newest, logsSteps: true, hasSlices: hasSlices, holdings: holdings)
        }
        // A copy that counts is of steps that nobody goes back behind.
        let oldest = usableCopies(of: holdings.classVersion).reduce(oldestRestorableStep) {
            max($0, $1.snapshot.maxStep)
        }
        return ShardState(
            newest: newestStep, oldest: oldest, logsSteps: true, hasSlices: hasSlices, holdings: holdings)
    }

    func holdings(
        _ place: (text: String, identity: UInt64), recent: [StepID], lastTask: Int, classVersion: Int
    ) -> ShardHoldings {
        let (owned, received) = (owned.map(\.slice), received.map(\.slice))
        let kept = usableCopies(of: classVersion).map(\.slice)
        return ShardHoldings(
            place: place.text, identity: place.identity, slices: owned.centers,
            denseSlices: owned.dense, received: received.centers,
            receivedDense: received.dense, kept: kept.centers,
            keptDense: kept.dense, mapVersion: mapVersion, classVersion: classVersion,
            receivedClassVersion: self.received.map(\.snapshot.classVersion).min(), lastTask: lastTask,
            isSynced: syncMode != .never, recent: recent)
    }

    /// Second copies that have seen as many operations on the classes as what is owned.
    private func usableCopies(of classVersion: Int) -> [KeptSlice] {
        kept.filter { $0.snapshot.classVersion == classVersion }
    }

    /// Where the directory is, for people.
    var place: String {
        "\(ProcessInfo.processInfo.hostName):\(URL(fileURLWithPath: directory).standardizedFileURL.path)"
    }

    /// What the directory has and a copy of it has not: its inode. 0 if the system does not say.
    var directoryIdentity: UInt64 {
        let attributes = try? FileManager.default.attributesOfItem(atPath: directory)
        return (attributes?[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0
    }

    /// The attempts that the last two steps in the log are of.
    private var recentAttempts: [StepID] {
        var records = records(after: newestStep - 2)
        var found: [StepID] = []
        while let record = try? records.next() { if record.isStep { found.append(record.attempt) } }
        return found
    }

    private var newestClassVersion: Int {
        var records = records(after: newestStep - 1)
        var version = 0
        while let record = try? records.next() { version = max(version, record.header.classVersion) }
        return version
    }
}

extension LogRecord {
    /// The attempt that the record is of; all skips of a step are the same.
    var attempt: StepID { header.kind == .skip ? .skipped(header.step) : id }
}
