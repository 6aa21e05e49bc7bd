internal import Foundation

/// Syncs the file that a log is written to: when asked, or from a thread of its own every interval.
///
/// Shared between the thread that appends and the one that syncs.
final class LogSyncer: @unchecked Sendable {
    private let condition = NSCondition()
    /// One sync at a time, so that a later one never ends before an earlier one.
    private let turn = NSLock()
    private let interval: Duration
    private var file: StoreFile?
    /// The newest step that was appended, and the newest one that is known to be on the disk.
    private var appended: Int
    private var synced: Int
    private var isDirty = false
    private var isStopped = false
    private var failure: CenterStoreError?

    init(step: Int, interval: Duration) {
        appended = step
        synced = step
        self.interval = interval
    }

    /// Begins to sync every interval.
    func start() {
        let thread = Thread { [self] in run() }
        thread.name = "log-sync"
        thread.start()
    }

    func stop() {
        locked {
            isStopped = true
            condition.signal()
        }
    }

    var syncedStep: Int { locked { synced } }
    var problem: CenterStoreError? { locked { failure } }

    /// `step` was appended to `file`; it may supersede what was synced.
    func appended(_ step: Int, to file: StoreFile?) {
        locked {
            self.file = file
            appended = step
            synced = min(synced, step - 1)
            isDirty = true
            condition.signal()
        }
    }

    /// Everything is on the disk up to `step`, which is the newest.
    func reset(to step: Int) {
        turn.withLock {
            locked {
                file = nil
                appended = step
                synced = step
                isDirty = false
            }
        }
    }

    /// Makes everything that was appended survive a power cut.
    ///
    /// - Throws: `CenterStoreError`. After a failure the system may have dropped what it could not write, so that no
    ///   later sync can be trusted: all of them fail until the log is opened again.
    func sync() throws(CenterStoreError) {
        turn.lock()
        defer { turn.unlock() }
        let (file, step, known) = locked { () -> (StoreFile?, Int, CenterStoreError?) in
            defer { isDirty = false }
            return (isDirty ? self.file : nil, appended, failure)
        }
        if let known { throw known }
        guard let file else { return }
        do throws(CenterStoreError) { try file.sync() } catch {
            locked { failure = error }
            throw error
        }
        // A record that came meanwhile and goes back before `step` has made it void.
        locked { synced = max(synced, min(step, isDirty ? appended - 1 : appended)) }
    }

    private func run() {
        let seconds = Double(interval.components.seconds) + Double(interval.components.attoseconds) * 1e-18
        while true {
            condition.lock()
            while !isDirty && !isStopped { condition.wait() }
            let until = Date(timeIntervalSinceNow: seconds)
            while !isStopped && condition.wait(until: until) {}
            let stops = isStopped
            condition.unlock()
            if stops { return }
            // The failure stays, and is reported as the store's problem.
            try? sync()
        }
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        condition.lock()
        defer { condition.unlock() }
        return body()
    }
}
