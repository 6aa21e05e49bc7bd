internal import Foundation

/// One thread that runs work in the order in which it was submitted.
///
/// The state machines ask for computations and go on listening; what they asked for runs here, one at a time.
public final class ComputeThread: @unchecked Sendable {
    private let condition = NSCondition()
    /// Nil where it was taken: what it held on to is let go.
    private var queue: [(@Sendable () -> Void)?] = []
    private var head = 0
    private var closed = false
    /// Work that is done piece by piece while nothing else waits.
    private var patient: [@Sendable () -> Bool] = []
    /// Pieces of other work that were done since the last piece of that.
    private var overtaken = 0
    /// After so many it has its turn all the same.
    private static let overtaking = 64
    /// Places that were taken are given up when there are so many.
    private static let compaction = 512

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

    /// Appends work that is to keep nothing else waiting: `piece` is called again and again, between other work, until it returns
    /// false. Several such have their turns by rotation. Does nothing after `close`.
    public func submitInPieces(_ piece: @escaping @Sendable () -> Bool) {
        condition.withLock {
            guard !closed else { return }
            patient.append(piece)
            condition.signal()
        }
    }

    /// Lets the work in progress end, drops the rest, and ends the thread.
    public func close() {
        condition.withLock {
            closed = true
            queue.removeAll()
            patient.removeAll()
            head = 0
            condition.signal()
        }
    }

    private func run() {
        while true {
            condition.lock()
            while head == queue.count && patient.isEmpty && !closed { condition.wait() }
            if closed {
                condition.unlock()
                return
            }
            if !patient.isEmpty, head == queue.count || overtaken >= Self.overtaking {
                overtaken = 0
                let piece = patient.removeFirst()
                condition.unlock()
                if piece() { submitInPieces(piece) }
                continue
            }
            overtaken += 1
            let work = queue[head]
            queue[head] = nil
            head += 1
            if head == queue.count {
                queue.removeAll(keepingCapacity: true)
                head = 0
            } else if head >= Self.compaction {
                queue.removeFirst(head)
                head = 0
            }
            condition.unlock()
            work?()
        }
    }
}
