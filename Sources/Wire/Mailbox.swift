/// A queue of events between threads: sockets and computations post, one loop takes.
///
/// ```swift
/// let mailbox = Mailbox<ServerEvent>()
/// let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", events: mailbox.sink { $0 })
/// while running {
///     if let event = mailbox.next(until: machine.deadline) { perform(machine.handle(event)) }
///     perform(machine.tick(.now))
/// }
/// ```
///
/// The capacity bounds what sockets bring in: while the mailbox is full they are not read, and senders feel it through TCP.
/// `post` itself always succeeds, so that a computation can hand in its result.
public final class Mailbox<Event: Sendable>: Sendable {
    private struct State {
        /// What was taken is nil, so that it is not kept alive until the array is shortened.
        var events: [(event: Event, byteCount: Int)?] = []
        var first = 0
        var byteCount = 0
        var isClosed = false
        var whenDrained: [@Sendable () -> Void] = []
    }

    private let monitor = Monitor(State())
    private let capacity: Int
    private let byteCapacity: Int

    /// - Parameters:
    ///   - capacity: number of events above which sockets are not read.
    ///   - byteCapacity: bytes of tensors in waiting events above which sockets are not read.
    public init(capacity: Int = 1024, byteCapacity: Int = 256 << 20) {
        self.capacity = capacity
        self.byteCapacity = byteCapacity
    }

    /// Appends an event. Does nothing once the mailbox is closed.
    public func post(_ event: Event) { post(event, byteCount: 0) }

    func post(_ event: Event, byteCount: Int) {
        monitor.withLock { state in
            guard !state.isClosed else { return }
            state.events.append((event, byteCount))
            state.byteCount += byteCount
        }
        monitor.signal()
    }

    /// Takes the oldest event; waits for one until the deadline.
    ///
    /// - Returns: nil when the deadline has passed, or when the mailbox is closed and empty.
    public func next(until deadline: ContinuousClock.Instant) -> Event? {
        var drained: [@Sendable () -> Void] = []
        let event: Event?? = monitor.wait(until: deadline) { state in
            guard state.first < state.events.count, let (event, byteCount) = state.events[state.first] else {
                return state.isClosed ? .some(nil) : nil
            }
            let wasFull = isFull(state)
            state.events[state.first] = nil
            state.first += 1
            state.byteCount -= byteCount
            if state.first == state.events.count || state.first > 512 {
                state.events.removeFirst(state.first)
                state.first = 0
            }
            if wasFull && !isFull(state) { drained = state.whenDrained }
            return .some(event)
        }
        for wake in drained { wake() }
        return event ?? nil
    }

    /// Takes the oldest event; waits for one at most `duration`.
    public func next(within duration: Duration) -> Event? { next(until: .now + duration) }

    /// Number of events that wait.
    public var count: Int { monitor.withLock { $0.events.count - $0.first } }

    public var isClosed: Bool { monitor.withLock { $0.isClosed } }

    /// Wakes `next` for good. What is in the mailbox can still be taken; nothing comes in any more.
    public func close() {
        let wake = monitor.withLock { state in
            state.isClosed = true
            return state.whenDrained
        }
        monitor.signal()
        for wake in wake { wake() }
    }

    /// An entrance for events of another type.
    public func sink<Input: Sendable>(_ transform: @escaping @Sendable (Input) -> Event) -> Sink<Input> {
        Sink(
            post: { self.post(transform($0), byteCount: $1) },
            isFull: { self.monitor.withLock { self.isFull($0) } },
            whenDrained: { wake in self.monitor.withLock { $0.whenDrained.append(wake) } })
    }

    private func isFull(_ state: State) -> Bool {
        !state.isClosed && (state.events.count - state.first >= capacity || state.byteCount >= byteCapacity)
    }
}

/// An entrance of a mailbox, as sockets see it.
public struct Sink<Input: Sendable>: Sendable {
    let post: @Sendable (Input, _ byteCount: Int) -> Void
    let isFull: @Sendable () -> Bool
    /// Registers what to call when the mailbox is no longer full.
    let whenDrained: @Sendable (@escaping @Sendable () -> Void) -> Void
}
