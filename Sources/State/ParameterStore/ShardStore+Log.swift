public import Cluster

/// The log of steps.
extension ShardStore {
    /// Appends what a step was computed from.
    ///
    /// After it has returned, no death of the process loses the record. A record supersedes those of its step and
    /// later ones. A file of the log that could not be synced is written anew first.
    /// - Throws: `CenterStoreError`. `.diskFull` and `.io`: the call may be repeated when there is room, or the disk works again.
    public func append(_ record: LogRecord) throws(CenterStoreError) {
        guard identity != nil else { throw CenterStoreError(.foreign, "\(directory) belongs to no cluster yet") }
        if syncMode != .never, syncer.problem != nil { try mendLog() }
        try log.append(record) { () throws(CenterStoreError) in
            // An earlier file must not lose what a later one builds on.
            if syncMode != .never { try sync() }
        }
        syncer.appended(record.header.step, to: log.activeFile, end: log.end)
        if syncMode == .always { try sync() }
    }

    /// Makes everything that was appended survive a power cut.
    ///
    /// - Throws: `CenterStoreError`; see `append`.
    public func sync() throws(CenterStoreError) {
        do throws(CenterStoreError) { try syncer.sync() } catch { try mendLog() }
    }

    /// Tries to make good what went wrong with the log or was left behind: to be called now and then.
    ///
    /// - Throws: `CenterStoreError`; it is the store's `syncProblem` too.
    public func tend() throws(CenterStoreError) {
        if hasLeftovers { sweep() }
        if syncer.problem != nil { try mendLog() }
    }

    /// Writes anew what could not be synced.
    private func mendLog() throws(CenterStoreError) {
        try syncer.mend(end: log.end) { () throws(CenterStoreError) in try log.sync() }
    }

    /// The step up to which everything owned is here: the last record's, or that of the snapshots, if a power cut has taken
    /// the log that came after them; -1 before the first step.
    public var newestStep: Int { max(log.newestStep ?? manifest.step, manifest.step, manifest.snapshotStep) }

    /// The last step that a power cut cannot take away.
    public var durableStep: Int { syncMode == .never ? newestStep : min(newestStep, syncer.syncedStep) }

    /// The oldest step that everything owned can be brought back to by `truncate(after:)`; larger than `newestStep`
    /// if nothing is owned.
    public var oldestRestorableStep: Int {
        guard !owned.isEmpty else { return newestStep + 1 }
        return owned.reduce(-1) { max($0, $1.source.maxStep) }
    }

    /// Why the log could not be synced and is not mended yet, nil if there is nothing to mend.
    public var syncProblem: String? { syncer.problem?.description }
    /// Whether a record is lost from the log, so that only a restart helps, which goes back by what is lost.
    public var isLogLost: Bool { syncer.problem?.code == .damaged }
    /// How often the log could not be synced, and why the last time. It was, or will be, written anew.
    public var syncIncidents: (count: Int, last: String) { syncer.incidents }
    /// Length of the log's files in bytes, those for received slices too.
    public var logByteCount: Int { sideLogs.values.reduce(log.byteCount) { $0 + $1.byteCount } }
    /// The step of the oldest record, nil if there is none.
    public var oldestLoggedStep: Int? { log.oldestStep }
    /// What was cut off the log when it was opened.
    public var tornTail: TornTail? { log.tornTail }

    /// The records of the steps after `step`, and of none after `last`: those that count, ascending.
    public func records(after step: Int, upTo last: Int? = nil) -> LogCursor {
        Self.cursor(log, after: step, upTo: last)
    }

    /// The records that came with a slice from another shard, to be replayed on it before those of the shard's own log.
    public func records(receivedWith slice: SliceName, after step: Int, upTo last: Int? = nil) -> LogCursor {
        let stem = owned.first { $0.slice == slice }?.sideLog ?? received.first { $0.slice == slice }?.sideLog
        return Self.cursor(stem.flatMap { sideLogs[$0] }, after: step, upTo: last)
    }

    /// The first record of a step after `step`, nil if there is none yet.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if it is not what was written.
    public func record(after step: Int) throws(CenterStoreError) -> LogRecord? {
        let entries = log.index.entries
        guard case let first = log.index.first(after: step), first < entries.count else { return nil }
        var cursor = LogCursor(log, [entries[first]])
        return try cursor.next()
    }

    private static func cursor(_ log: StepLog?, after step: Int, upTo last: Int?) -> LogCursor {
        guard let log else { return LogCursor(nil, []) }
        let index = log.index
        let first = index.first(after: step)
        let end = last.map { index.first(after: $0) } ?? index.entries.count
        return LogCursor(log, Array(index.entries[first..<max(first, end)]))
    }

    /// Goes back: forgets every record of a later step, and class operations after `step` of a higher version.
    ///
    /// - Throws: `CenterStoreError`, `.notHeld` if a snapshot is of a later step, so that nothing leads back to `step`.
    public func truncate(after step: Int, classVersion: Int = .max) throws(CenterStoreError) {
        if let late = owned.first(where: { $0.source.maxStep > step }) {
            throw CenterStoreError(
                .notHeld,
                "\(directory): \(late.slice) is kept as of step \(late.source.maxStep), so that step \(step) is gone: restore a checkpoint"
            )
        }
        try forgetKept(Set(kept.filter { $0.snapshot.maxStep > step }.map(\.slice)))
        // What stays counts as durable afterwards.
        if syncMode != .never { try sync() }
        let fitting = received.filter { $0.snapshot.maxStep <= step }
        // The manifest first: a crash in between must not leave it promising more than there is.
        if manifest.step > step || received.contains(where: { $0.step > step }) {
            try change { manifest in
                manifest.step = min(manifest.step, step)
                manifest.received = fitting.map {
                    var entry = $0
                    entry.step = min(entry.step, step)
                    return entry
                }
            }
        }
        try cutSideLogCounts(after: step, classVersion: classVersion)
        for stem in manifest.sideLogs { try sideLogs[stem]?.truncate(after: step, classVersion: classVersion) }
        // What is appended next is not synced, wherever it lies.
        if let end = log.end(after: step, classVersion: classVersion) { try syncer.willCut(at: end) }
        try log.truncate(after: step, classVersion: classVersion)
        syncer.reset(to: newestStep, end: log.end)
    }

    /// What is appended to a side log once it is cut is not synced.
    private func cutSideLogCounts(after step: Int, classVersion: Int) throws(CenterStoreError) {
        func cut(_ count: Int?, _ stem: String?) -> Int? {
            guard let count, let stem, let end = sideLogs[stem]?.end(after: step, classVersion: classVersion) else {
                return count
            }
            return min(count, end.offset)
        }
        var changed = manifest
        for index in changed.owned.indices {
            changed.owned[index].sideLogByteCount = cut(
                changed.owned[index].sideLogByteCount, changed.owned[index].sideLog)
        }
        for index in changed.received.indices {
            changed.received[index].sideLogByteCount = cut(
                changed.received[index].sideLogByteCount, changed.received[index].sideLog)
        }
        guard changed.owned != manifest.owned || changed.received != manifest.received else { return }
        let (owned, received) = (changed.owned, changed.received)
        try change { ($0.owned, $0.received) = (owned, received) }
    }

    /// The oldest step whose record is needed to restore what is owned, or to make copies current: nothing before it is.
    public var oldestNeededStep: Int {
        (min(owned.map(\.source.minStep).min() ?? newestStep, kept.map(\.snapshot.minStep).min() ?? .max)) + 1
    }

    /// Removes the files of the log in which every record is of a step before `step`.
    ///
    /// - Throws: `CenterStoreError`, `.notHeld` if the records are still needed.
    public func dropLog(before step: Int) throws(CenterStoreError) {
        guard step <= oldestNeededStep else {
            throw CenterStoreError(
                .notHeld, "\(directory): records from step \(oldestNeededStep) on are needed, before \(step)")
        }
        guard let first = log.firstSegment(neededFrom: step), first > manifest.firstSegment else { return }
        try change { $0.firstSegment = first }
        try log.drop(segmentsBefore: first)
    }
}
