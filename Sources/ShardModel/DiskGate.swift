package import Cluster
internal import Model
internal import ParameterStore
internal import ProcessSupport
internal import Tensors

/// Where a computation waits while the disk does not take what it must write, and where it is told to give up.
///
/// The thread that computes waits; any other may look at the obstacle, or cancel.
package final class DiskGate: @unchecked Sendable {
    private let condition = MonotonicCondition()
    private var problem = ""
    /// Attempts up to this one are given up: what waits for them ends.
    private var cancelled: StepID?
    private var isClosed = false
    private let interval: Duration
    /// Called when the obstacle changes, on the thread that computes.
    package var onChange: (@Sendable (_ obstacle: String) -> Void)?

    /// - Parameter interval: seconds between two tries.
    package init(interval: Double = 0.5) { self.interval = .seconds(interval) }

    /// Why the shard cannot prepare, or empty.
    package var obstacle: String { condition.withLock { problem } }

    /// Ends the waiting for this attempt: it will be rolled back.
    package func cancel(_ id: StepID) {
        condition.withLock {
            cancelled = max(cancelled ?? id, id)
            condition.broadcast()
        }
    }

    /// Ends all waiting: the process ends.
    package func close() {
        condition.withLock {
            isClosed = true
            condition.broadcast()
        }
    }

    /// Does `body` until it succeeds, the attempt is cancelled, or it fails for good.
    ///
    /// - Parameter id: the attempt that needs it; nil for what only the end of the process cancels.
    /// - Throws: the last `CenterStoreError`, with nothing written.
    func retry<Result>(_ id: StepID?, _ body: () throws(CenterStoreError) -> Result) throws(CenterStoreError) -> Result
    {
        defer { report("") }
        while true {
            do throws(CenterStoreError) { return try body() } catch {
                guard error.code == .diskFull || error.code == .io else { throw error }
                report(error.message)
                if !wait(id) { throw error }
            }
        }
    }

    private func report(_ text: String) {
        let changed = condition.withLock {
            defer { problem = text }
            return problem != text
        }
        if changed { onChange?(text) }
    }

    /// Waits for the next try; false if there is none.
    private func wait(_ id: StepID?) -> Bool {
        let end = ContinuousClock.now + interval
        condition.lock()
        defer { condition.unlock() }
        while !isClosed {
            if let id, let cancelled, id <= cancelled { return false }
            if !condition.wait(until: end) { return true }
        }
        return false
    }
}
