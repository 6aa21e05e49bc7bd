internal import Foundation
internal import ProcessSupport

/// Syncs the files that a log is written to: when asked, or from a thread of its own every interval.
///
/// Shared between the thread that appends and the one that syncs.
final class LogSyncer: @unchecked Sendable {
    private let condition = MonotonicCondition()
    /// One sync at a time, so that a later one never ends before an earlier one.
    private let turn = NSLock()
    private let interval: Duration
    /// Touched by whoever has the turn.
    private let mark: SyncedMark
    /// Files that were appended to since they were synced, in the order of the log.
    private var files: [StoreFile] = []
    /// The newest step that was appended and where its record ends, and the newest one that is known to be on the disk.
    private var appended: Int
    private var end: LogPosition?
    private var synced: Int
    private var isStopped = false
    private var failure: CenterStoreError?
    private var failures = 0
    private var lastFailure = ""

    init(step: Int, interval: Duration, mark: SyncedMark) {
        appended = step
        synced = step
        self.interval = interval
        self.mark = mark
    }

    /// Begins to sync every interval.
    func start() {
        let thread = Thread { [self] in run() }
        thread.name = "log-sync"
        thread.start()
    }

    func stop() {
        condition.withLock {
            isStopped = true
            condition.signal()
        }
    }

    var syncedStep: Int { condition.withLock { synced } }
    /// Why the log could not be synced, until it is mended.
    var problem: CenterStoreError? { condition.withLock { failure } }
    /// How often the log could not be synced, and why the last time.
    var incidents: (count: Int, last: String) { condition.withLock { (failures, lastFailure) } }

    /// `step` was appended to `file`, which is the last one and ends at `end` now; it may supersede what was synced.
    func appended(_ step: Int, to file: StoreFile?, end: LogPosition) {
        condition.withLock {
            if let file, files.last !== file { files.append(file) }
            self.end = end
            appended = step
            synced = min(synced, step - 1)
            condition.signal()
        }
    }

    /// The log is about to be cut at `end`, or begins anew there.
    ///
    /// - Throws: `CenterStoreError` if the mark cannot be taken back: the log must not be cut then.
    func willCut(at end: LogPosition) throws(CenterStoreError) {
        turn.lock()
        defer { turn.unlock() }
        if let known = mark.position, known > end { try mark.set(end) }
    }

    /// Everything is on the disk up to `step`, which is the newest, and up to `end`.
    func reset(to step: Int, end: LogPosition) {
        turn.withLock {
            condition.withLock {
                files = []
                appended = step
                synced = step
                failure = nil
                self.end = end
            }
            mark.raise(to: end)
        }
    }

    /// The state after `step` is on the disk without the log.
    func advance(to step: Int) {
        condition.withLock { (appended, synced) = (max(appended, step), max(synced, step)) }
    }

    /// Makes everything that was appended survive a power cut.
    ///
    /// - Throws: `CenterStoreError`. After a failure the system may have dropped what it could not write, so that no
    ///   later sync can be trusted: all of them fail until the log is mended.
    func sync() throws(CenterStoreError) {
        turn.lock()
        defer { turn.unlock() }
        let (files, step, end, known) = condition.withLock {
            defer { self.files = [] }
            return (self.files, appended, self.end, failure)
        }
        if let known { throw known }
        if files.isEmpty { return }
        for file in files {
            do throws(CenterStoreError) { try file.sync() } catch {
                condition.withLock {
                    failure = error
                    failures += 1
                    lastFailure = error.message
                }
                throw error
            }
        }
        condition.withLock {
            // A record that came meanwhile and goes back before `step` has made it void.
            synced = max(synced, min(step, self.files.isEmpty ? appended : appended - 1))
        }
        if let end { mark.raise(to: end) }
    }

    /// Calls `body`, which makes the whole log survive a power cut, while nothing else syncs; afterwards there is no problem.
    ///
    /// - Parameter end: where the log ends.
    func mend(end: LogPosition, _ body: () throws(CenterStoreError) -> Void) throws(CenterStoreError) {
        turn.lock()
        defer { turn.unlock() }
        do throws(CenterStoreError) { try body() } catch {
            condition.withLock { failure = error }
            throw error
        }
        condition.withLock {
            failure = nil
            files = []
            synced = appended
        }
        mark.raise(to: end)
    }

    private func run() {
        while true {
            condition.lock()
            while (files.isEmpty || failure != nil) && !isStopped { condition.wait() }
            let until = ContinuousClock.now + interval
            while !isStopped && condition.wait(until: until) {}
            let stops = isStopped
            condition.unlock()
            if stops { return }
            // The failure stays, and is reported as the store's problem.
            try? sync()
        }
    }
}
