/// What a process does in the cluster.
public enum MemberRole: UInt8, Sendable, Hashable, Codable {
    case worker = 0
    case shard = 1
    case `operator` = 2
}

/// A process of the cluster, by role and number: `worker-3`, `shard-1`.
///
/// The coordinator gives the number; a shard keeps it when it returns.
public struct MemberID: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public var role: MemberRole
    public var number: Int

    /// Numbers are below this: more processes than a cluster will ever have had.
    public static let numberLimit = 1 << 24

    public init(_ role: MemberRole, _ number: Int) {
        self.role = role
        self.number = number
    }

    public static func < (a: MemberID, b: MemberID) -> Bool {
        (a.role.rawValue, a.number) < (b.role.rawValue, b.number)
    }

    public var description: String { "\(role)-\(number)" }
}
