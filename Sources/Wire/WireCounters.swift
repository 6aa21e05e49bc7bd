public import Cluster

/// What an endpoint has seen since it was opened.
public struct WireCounters: Sendable, Equatable {
    /// Messages that were delivered, and bytes of everything that came in, rejected or not.
    public var received = 0
    public var bytesIn = 0
    /// Announcements and fragments of large messages that were taken.
    public var parts = 0
    /// Large messages that were given up because no more fragments came.
    public var unfinished = 0
    /// Messages that were handed to ZeroMQ.
    public var sent = 0
    public var bytesOut = 0
    /// Messages that were not delivered but refused, by reason, and those that the owner refused.
    public var rejected: [RefusalCode: Int] = [:]
    /// Messages for peers that are not connected.
    public var unreachable = 0
    /// Peers (of a server) or messages (of a client) dropped because too much waited for the other side.
    public var overfull = 0
    /// Refusals that a peer without a handshake did not get because it reads none.
    public var unanswered = 0
    /// Messages that could not be encoded.
    public var unencodable = 0

    /// Peers that a server with keys did not let in, by reason.
    public var turnedAway: [HandshakeFailure.Reason: Int] = [:]

    /// Connections that the server has ended, by reason.
    public var ended: [ConnectionTrouble.Reason: Int] = [:]
    /// How often no connection could be accepted.
    public var unaccepted = 0
    /// Messages that nobody looked at: of peers that are gone, or that ask without waiting for answers.
    public var ignored = 0
    /// Connections that are open now.
    public var connections = 0

    /// Connections that were ended, by the name of the reason in metrics.
    public var endedByName: [String: Int] {
        Dictionary(uniqueKeysWithValues: ended.map { ($0.key.rawValue, $0.value) })
    }

    /// All rejections.
    public var rejectedTotal: Int { rejected.values.reduce(0, +) }

    /// All rejections, connections that were ended, and messages that nobody looked at.
    public var refusedTotal: Int { rejectedTotal + ended.values.reduce(0, +) + ignored }

    /// Peers that were not let in, by the name of the reason in metrics.
    public var turnedAwayByName: [String: Int] {
        Dictionary(uniqueKeysWithValues: turnedAway.map { ($0.key.rawValue, $0.value) })
    }

    public init() {}

    mutating func reject(_ code: RefusalCode) { rejected[code, default: 0] += 1 }
}
