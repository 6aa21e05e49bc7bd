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
    /// Events in the order in which they came.
    private struct Lane {
        /// What was taken is nil, so that it is not kept alive until the array is shortened.
        var events: [(event: Event, byteCount: Int)?] = []
        var first = 0

        var count: Int { events.count - first }

        mutating func take() -> (event: Event, byteCount: Int)? {
            guard first < events.count, let taken = events[first] else { return nil }
            events[first] = nil
            first += 1
            if first == events.count || first > 512 {
                events.removeFirst(first)
                first = 0
            }
            return taken
        }
    }

    private struct State {
        var prompt = Lane()
        /// Those that wait until there are no others.
        var patient = Lane()
        /// How many others were taken since the last one of these.
        var overtaken = 0
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

    /// - Parameter isPatient: whether it waits until nothing else does, or much else has gone before it.
    func post(_ event: Event, byteCount: Int, isPatient: Bool = false) {
        monitor.withLock { state in
            guard !state.isClosed else { return }
            if isPatient {
                state.patient.events.append((event, byteCount))
            } else {
                state.prompt.events.append((event, byteCount))
            }
            state.byteCount += byteCount
        }
        monitor.signal()
    }

    /// One of those that wait has its turn after so many others at the latest.
    private static var overtaking: Int { 256 }

    private func take(_ state: inout State) -> (event: Event, byteCount: Int)? {
        if state.overtaken < Self.overtaking || state.patient.count == 0, let event = state.prompt.take() {
            state.overtaken += 1
            return event
        }
        state.overtaken = 0
        return state.patient.take() ?? state.prompt.take()
    }

    /// Takes the oldest event; waits for one until the deadline.
    ///
    /// - Returns: nil when the deadline has passed, or when the mailbox is closed and empty.
    public func next(until deadline: ContinuousClock.Instant) -> Event? {
        var drained: [@Sendable () -> Void] = []
        let event: Event?? = monitor.wait(until: deadline) { state in
            let wasFull = isFull(state)
            guard let (event, byteCount) = take(&state) else { return state.isClosed ? .some(nil) : nil }
            state.byteCount -= byteCount
            if wasFull && !isFull(state) { drained = state.whenDrained }
            return .some(event)
        }
        for wake in drained { wake() }
        return event ?? nil
    }

    /// Takes the oldest event; waits for one at most `duration`.
    public func next(within duration: Duration) -> Event? { next(until: .now + duration) }

    /// Number of events that wait.
    public var count: Int { monitor.withLock { $0.prompt.count + $0.patient.count } }

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
            deliver: { self.post(transform($0), byteCount: $1, isPatient: $2) },
            isFull: { self.monitor.withLock { self.isFull($0) } },
            whenDrained: { wake in self.monitor.withLock { $0.whenDrained.append(wake) } })
    }

    private func isFull(_ state: State) -> Bool {
        !state.isClosed && (state.prompt.count >= capacity || state.byteCount >= byteCapacity)
    }
}

/// An entrance of a mailbox, as sockets see it.
public struct Sink<Input: Sendable>: Sendable {
    let deliver: @Sendable (Input, _ byteCount: Int, _ isPatient: Bool) -> Void
    let isFull: @Sendable () -> Bool
    /// Registers what to call when the mailbox is no longer full.
    let whenDrained: @Sendable (@escaping @Sendable () -> Void) -> Void

    func post(_ input: Input, _ byteCount: Int, isPatient: Bool = false) { deliver(input, byteCount, isPatient) }
}
