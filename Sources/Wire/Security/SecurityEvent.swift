/// What a server with keys has to tell.
public enum SecurityEvent: Sendable, CustomStringConvertible {
    /// A peer was not let in. `address` is nil if it was gone already, `others` counts those turned away for the same reason since the
    /// last event about it.
    case turnedAway(HandshakeFailure.Reason, address: String?, key: PublicKey?, others: Int)
    /// The accepted keys have changed: how many there are now.
    case keysRead(Int)
    /// The accepted keys have changed and cannot be read; those that were read before stay.
    case keysUnreadable(String)

    /// A line for the log.
    public var description: String {
        switch self {
        case .turnedAway(let reason, let address, let key, let others):
            let what =
                switch reason {
                case .key: "it showed \(key.map { "the key \($0)" } ?? "something") that is not accepted"
                case .revoked: "its key \(key.map { "\($0) " } ?? "")was revoked"
                case .mechanism: "it has no keys, or another --encrypt"
                case .serverKey: "it takes this server for one with another key, of another cluster for instance"
                case .protocol: "it does not speak ZeroMQ's protocol"
                case .broken: "it ended the connection during the handshake"
                }
            let more = others > 0 ? " (and \(others) more like this)" : ""
            return "turned away a peer at \(address ?? "an unknown address"): \(what)\(more)"
        case .keysRead(let count): return "the accepted keys have changed: \(count) now"
        case .keysUnreadable(let problem):
            return "the accepted keys cannot be read, those read before still count: \(problem)"
        }
    }

    /// Whether it is more than news.
    public var isWarning: Bool { if case .keysRead = self { false } else { true } }
}

/// Tells of the first peer that is turned away for a reason, and then once in a while, so that nobody can fill a log.
package struct TurnedAwayThrottle {
    private var last: [HandshakeFailure.Reason: ContinuousClock.Instant] = [:]
    private var untold: [HandshakeFailure.Reason: Int] = [:]

    package static let interval = Duration.seconds(10)

    package init() {}

    /// The event to post, or nil to keep quiet.
    package mutating func note(
        _ reason: HandshakeFailure.Reason, address: String?, key: PublicKey?, at now: ContinuousClock.Instant
    ) -> SecurityEvent? {
        if let time = last[reason], now - time < Self.interval {
            untold[reason, default: 0] += 1
            return nil
        }
        last[reason] = now
        return .turnedAway(reason, address: address, key: key, others: untold.removeValue(forKey: reason) ?? 0)
    }
}
