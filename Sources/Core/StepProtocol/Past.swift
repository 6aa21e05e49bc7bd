internal import Determinism

/// A part of the cluster's past: the steps after `since` until the cluster went back behind what came later.
///
/// Going back begins a new one, so that a directory that was not there, or that is brought back from a copy, is known by the name
/// that it carries. The list of them in the record leads from the beginning to the present.
public struct Past: Sendable, Hashable, Codable {
    /// Never 0. The upper 40 bits are the term in which it began: later ones have larger names.
    public var name: UInt64
    /// The step that the cluster had gone back to when it began, -1 for the beginning.
    public var since: Int

    public init(name: UInt64, since: Int) {
        self.name = name
        self.since = since
    }

    /// The past that begins in `term` of the coordinator process `incarnation`.
    public init(term: Int, incarnation: UInt64, since: Int) {
        let salt = KeyedRandom.mix(incarnation ^ KeyedRandom.mix(UInt64(truncatingIfNeeded: term))) & 0xFF_FFFF
        self.init(name: UInt64(truncatingIfNeeded: term) << 24 | max(1, salt), since: since)
    }

    /// The term in which a past of this name began.
    public static func term(of name: UInt64) -> Int { Int(name >> 24) }

    /// How many a record keeps; a directory of an older one is a very old copy.
    static let limit = 64
}

extension [Past] {
    /// The present one's name, 0 if there is none yet.
    public var present: UInt64 { last?.name ?? 0 }

    /// Whether the state after `step` of the past `name` is one that the present is built on.
    public func contains(_ name: UInt64, upTo step: Int) -> Bool {
        guard let index = lastIndex(where: { $0.name == name }) else { return false }
        return self[(index + 1)...].allSatisfy { $0.since >= step }
    }
}
