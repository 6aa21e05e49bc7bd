import ProcessSupport

/// A state under a lock, with a condition to wait for.
///
/// On pthreads: the thread sanitizer understands them.
final class Monitor<State>: @unchecked Sendable {
    private var state: State
    private let condition = MonotonicCondition()

    init(_ state: State) { self.state = state }

    func withLock<Result, Failure: Error>(_ body: (inout State) throws(Failure) -> Result) throws(Failure) -> Result {
        condition.lock()
        defer { condition.unlock() }
        return try body(&state)
    }

    /// Wakes whoever waits.
    func signal() { condition.broadcast() }

    /// Waits until `body` gives a result or the deadline passes; `body` is tried once at least.
    func wait<Result>(until deadline: ContinuousClock.Instant, _ body: (inout State) -> Result?) -> Result? {
        condition.lock()
        defer { condition.unlock() }
        var isEarly = true
        while true {
            if let result = body(&state) { return result }
            guard isEarly else { return nil }
            isEarly = condition.wait(until: deadline)
        }
    }
}
