/// What a server has to tell of connections that it ended, or could not accept.
public enum ConnectionTrouble: Sendable, CustomStringConvertible {
    /// Why a server ends a connection.
    public enum Reason: String, Sendable, Hashable, CaseIterable {
        /// A message that is not whole takes more room than its peer may have.
        case endless
        /// The peers of its kind together take more room than they may have, and it takes the most.
        case crowded
        /// It sends faster than it is read.
        case flood
        /// A message that is not whole has stopped growing, or grows too slowly.
        case slow
        /// It was not welcomed and has nothing to say.
        case silent
        /// It does not read what it is sent.
        case unread
        /// There are too many connections, or no descriptors.
        case descriptors
    }

    /// One connection; `others` counts those that were ended for the same reason since the last one that was told of.
    case ended(Reason, address: String?, share: PeerShare, others: Int)
    /// No connection could be accepted: the process has no descriptors left.
    case noDescriptors(connections: Int)
    /// Connections are accepted again.
    case accepting

    /// A line for the log.
    public var description: String {
        switch self {
        case .ended(let reason, let address, let share, let others):
            let what =
                switch reason {
                case .endless: "a message of it that has no end takes too much room"
                case .crowded: "unfinished messages of its kind take too much room, and of it the most"
                case .flood: "it sends faster than it can be read"
                case .slow: "a message of it has stopped coming, or comes too slowly"
                case .silent: "it says no hello that can be welcomed"
                case .unread: "it does not read what it is sent"
                case .descriptors: "there are too many connections"
                }
            let more = others > 0 ? " (and \(others) more like this)" : ""
            return "ended the connection of \(share.described) at \(address ?? "an unknown address"): \(what)\(more)"
        case .noDescriptors(let connections):
            return
                "this process has no descriptors left: new connections (\(connections) are open) are turned away until there are some again; `ulimit -n` allows more"
        case .accepting: return "connections are accepted again"
        }
    }

    /// Whether it is more than news.
    public var isWarning: Bool { if case .accepting = self { false } else { true } }
}

extension PeerShare {
    var described: String {
        switch self {
        case .stranger: "a peer that was not welcomed"
        case .observer: "an operator or reader"
        case .member: "a member"
        }
    }
}

/// Tells of the first connection that is ended for a reason, and then once in a while, so that nobody can fill a log.
struct TroubleThrottle {
    private var last: [ConnectionTrouble.Reason: ContinuousClock.Instant] = [:]
    private var untold: [ConnectionTrouble.Reason: Int] = [:]
    private static let interval = Duration.seconds(10)

    /// The event to post, or nil to keep quiet.
    mutating func note(
        _ reason: ConnectionTrouble.Reason, address: @autoclosure () -> String?, share: PeerShare,
        at now: ContinuousClock.Instant
    ) -> ConnectionTrouble? {
        if let time = last[reason], now - time < Self.interval {
            untold[reason, default: 0] += 1
            return nil
        }
        last[reason] = now
        return .ended(reason, address: address(), share: share, others: untold.removeValue(forKey: reason) ?? 0)
    }
}
