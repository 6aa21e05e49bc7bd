public import Cluster

/// What the holder of a key may be in a cluster.
public enum KeyRole: String, Sendable, Hashable, CaseIterable {
    case coordinator
    case shard = "shard-server"
    case worker
    /// Gives commands.
    case `operator`
    /// Asks, and changes nothing.
    case reader

    /// What a holder says of itself in its hello. A coordinator asks another one as operators do.
    public var memberRole: MemberRole? {
        switch self {
        case .shard: .shard
        case .worker: .worker
        case .operator, .reader, .coordinator: .operator
        }
    }

    /// The role with its article, for messages.
    var described: String {
        switch self {
        case .coordinator, .shard, .worker, .reader: "a \(rawValue)"
        case .operator: "an \(rawValue)"
        }
    }
}
