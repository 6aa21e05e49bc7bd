public import OperatorStatus

/// Where a reader of the operator's log is: gives every event once, whatever happens to the coordinator meanwhile.
///
/// The last event that was read is asked for again with those after it. If it comes back, nothing was missed. If it does not, the
/// log is another than it was: a power cut took its end, or another run has begun.
public struct EventCursor: Sendable {
    private var last: ClusterEvent?

    /// What an answer means.
    public enum Outcome: Sendable {
        /// These are new; so many before them were dropped before they could be read.
        case new([ClusterEvent], missed: Int)
        /// The log is another: give all that is kept to `lookBack`.
        case otherLog
    }

    public init() {}

    /// The number from which on events are to be asked for.
    public var from: Int { last?.id ?? 0 }

    /// Takes events from `from` on, ascending and as many as there are up to some limit.
    public mutating func take(_ answer: [ClusterEvent]) -> Outcome {
        guard let last, let known = last.id else {
            self.last = answer.last
            return .new(answer, missed: 0)
        }
        guard let first = answer.first, let number = first.id else { return .otherLog }
        if number > known {
            self.last = answer.last
            return .new(answer, missed: number - known - 1)
        }
        guard first.time == last.time, first.text == last.text else { return .otherLog }
        self.last = answer.last
        return .new(Array(answer.dropFirst()), missed: 0)
    }

    /// Takes everything that is kept of another log, and returns what happened after the last event that was read.
    public mutating func lookBack(_ all: [ClusterEvent]) -> [ClusterEvent] {
        let time = last?.time ?? -.infinity
        if let end = all.last { last = end }
        return all.filter { $0.time > time }
    }
}
