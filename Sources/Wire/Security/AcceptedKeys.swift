/// A key that servers accept.
public struct AcceptedKey: Sendable, Hashable {
    public var role: KeyRole
    /// Which holder it is, for people; distinct in a cluster.
    public var name: String
    public var key: PublicKey
    /// The public half of what the holder shows in place of the key where traffic is not encrypted.
    public var bulkKey: PublicKey

    public init(role: KeyRole, name: String, key: PublicKey, bulkKey: PublicKey) {
        self.role = role
        self.name = name
        self.key = key
        self.bulkKey = bulkKey
    }
}

/// The keys that a server accepts at the moment. What is added or revoked counts from the next look on, a second later at most.
public final class AcceptedKeys: Sendable {
    /// What a look found.
    enum Change: Sendable {
        /// So many keys are accepted from now on.
        case read(Int)
        /// The keys cannot be read; those that were read last stay.
        case unreadable(String)
    }

    private struct State {
        var keys: [PublicKey: AcceptedKey] = [:]
        var problem: String?
    }

    private let state = Monitor(State())
    private let read: @Sendable () throws -> [AcceptedKey]?
    private let own: AcceptedKey?

    /// - Parameters:
    ///   - own: the server's own key, if whoever has it is let in as well.
    ///   - read: gives the keys, or nil if they are those of the last call.
    /// - Throws: what the first `read` throws.
    public init(own: AcceptedKey? = nil, read: @escaping @Sendable () throws -> [AcceptedKey]?) throws {
        (self.own, self.read) = (own, read)
        let keys = try read() ?? []
        state.withLock { $0.keys = index(keys) }
    }

    /// The key as it is accepted; nil if it is not.
    func find(_ key: PublicKey) -> AcceptedKey? { state.withLock { $0.keys[key] } }

    /// Looks for changes; a problem is told once.
    func refresh() -> Change? {
        state.withLock { state in
            do {
                let keys = try read()
                state.problem = nil
                guard let keys else { return nil }
                state.keys = index(keys)
                return .read(keys.count)
            } catch {
                let problem = "\(error)"
                guard state.problem != problem else { return nil }
                state.problem = problem
                return .unreadable(problem)
            }
        }
    }

    private func index(_ keys: [AcceptedKey]) -> [PublicKey: AcceptedKey] {
        Dictionary(([own].compactMap(\.self) + keys).map { ($0.key, $0) }) { first, _ in first }
    }
}
