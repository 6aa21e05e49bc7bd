import Cluster

/// What a peer is to a server: whose room its bytes take.
public enum PeerShare: String, Sendable, Hashable, CaseIterable {
    /// One that has not been welcomed (yet).
    case stranger
    /// One that asks: an operator or a reader.
    case observer
    /// A worker or a shard.
    case member

    init(_ member: MemberID?) {
        switch member?.role {
        case nil: self = .stranger
        case .operator: self = .observer
        case .worker, .shard: self = .member
        }
    }
}

/// The room that the peers of one kind may take in a server, in bytes. The kinds do not take each other's.
struct PeerRoom {
    /// What ZeroMQ holds of messages that are not whole yet: of one connection, and of all together.
    ///
    /// ZeroMQ puts messages of several frames together by itself and shows them when they are whole. An empty frame costs it 64 bytes
    /// and travels as 2.
    var incomplete: (each: Int, together: Int)
    /// What ZeroMQ holds of a connection, whole messages that wait to be read included.
    var unread: Int
    /// Messages that come in fragments.
    var unfinished: (each: Int, together: Int)
    /// Answers that wait to be sent.
    var answers: (each: Int, together: Int)
    /// How long a connection may hold a part of a message that does not grow, and a peer may leave answers unread.
    var patience: Duration
}

extension TransportOptions {
    /// The room of one kind of peers.
    func room(of share: PeerShare) -> PeerRoom {
        switch share {
        // A peer that a server has forgotten may be in the middle of a fragment when it hears of it.
        case .stranger:
            PeerRoom(
                incomplete: (WireLimits.longestFragment + 1 << 20, 32 << 20), unread: 8 << 20, unfinished: (0, 0),
                answers: (SendAccount.strangerCapacity, 32 << 20), patience: strangerPatience)
        case .observer:
            PeerRoom(
                incomplete: (20 << 20, 64 << 20), unread: 32 << 20,
                unfinished: (min(64 << 20, messageByteCount), min(256 << 20, unfinishedByteCapacity)),
                answers: (min(64 << 20, sendByteCapacity), observerAnswerByteCapacity), patience: observerPatience)
        case .member:
            PeerRoom(
                incomplete: (frameByteCount + WireLimits.longestFragment, 512 << 20),
                unread: messageByteCount + 256 << 20,
                unfinished: (messageByteCount, unfinishedByteCapacity),
                answers: (sendByteCapacity, 8 * sendByteCapacity), patience: unfinishedDeadline)
        }
    }
}
