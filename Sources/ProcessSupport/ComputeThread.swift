internal import Foundation

/// One thread that runs work in the order in which it was submitted.
///
/// The state machines ask for computations and go on listening; what they asked for runs here, one at a time.
public final class ComputeThread: @unchecked Sendable {
    private let condition = NSCondition()
    private var queue: [@Sendable () -> Void] = []
    private var head = 0
    private var closed = false

    /// Starts the thread.
    public init(name: String) {
        let thread = Thread { [self] in run() }
        thread.name = name
        thread.stackSize = 8 << 20
        thread.start()
    }

    /// Appends `work`. Does nothing after `close`.
    public func submit(_ work: @escaping @Sendable () -> Void) {
        condition.withLock {
            guard !closed else { return }
            queue.append(work)
            condition.signal()
        }
    }

    /// Lets the work in progress end, drops the rest, and ends the thread.
    public func close() {
        condition.withLock {
            closed = true
            queue.removeAll()
            head = 0
            condition.signal()
        }
    }

    private func run() {
        while true {
            condition.lock()
            while head == queue.count && !closed { condition.wait() }
            if closed {
                condition.unlock()
                return
            }
            let work = queue[head]
            head += 1
            if head == queue.count {
                queue.removeAll(keepingCapacity: true)
                head = 0
            }
            condition.unlock()
            work()
        }
    }
}
