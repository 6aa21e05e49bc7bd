/// Whom a shard waits for in the running attempt: the ranks whose next request it needs before it can go on.
public struct ShardWaiting: Sendable, Hashable, Codable {
    /// Ranks that a report names at most: those that are waited for the longest.
    public static let rankLimit = 64

    /// A rank that has not come.
    public struct Rank: Sendable, Hashable, Codable {
        public var rank: Int
        /// The request that is missing.
        public var phase: StepPhase
        /// How long nothing has happened between the rank and the shard.
        public var seconds: Double

        public init(rank: Int, phase: StepPhase, seconds: Double) {
            self.rank = rank
            self.phase = phase
            self.seconds = seconds
        }
    }

    public var id: StepID
    /// Whether the shard computes something itself: then nobody waits for a rank alone.
    public var isBusy: Bool
    public var ranks: [Rank]

    public init(id: StepID, isBusy: Bool, ranks: [Rank]) {
        self.id = id
        self.isBusy = isBusy
        self.ranks = ranks
    }
}

extension ShardMachine {
    /// Whom the shard waits for, or nil while it takes no part in an attempt.
    public func waiting(at now: Duration) -> ShardWaiting? {
        guard let plan, plan.activity == .train, plan.id == current, plan.committed == committed, runningTask == nil,
            plan.shards.contains(where: { $0.shard == member }), attempt?.failure == nil
        else { return nil }
        let missing = plan.ranks.indices.compactMap { rank -> ShardWaiting.Rank? in
            guard let phase = attempt.map({ $0.missing(rank) }) ?? .begin else { return nil }
            let since = max(announcedAt, attempt?.ranks[rank].lastHeard ?? .zero)
            return .init(rank: rank, phase: phase, seconds: max(0, (now - since) / .seconds(1)))
        }
        let longest = missing.sorted { ($0.phase, -$0.seconds, $0.rank) < ($1.phase, -$1.seconds, $1.rank) }
        return ShardWaiting(
            id: plan.id, isBusy: unfinishedComputations > 0, ranks: Array(longest.prefix(ShardWaiting.rankLimit)))
    }

    /// Bytes of a large message move between a worker and the shard: it is not silent.
    mutating func notice(_ worker: MemberID) {
        guard let rank = plan?.ranks.firstIndex(where: { $0.worker == worker }),
            attempt?.ranks.indices.contains(rank) == true
        else { return }
        attempt?.ranks[rank].lastHeard = clock
    }
}

extension ShardAttempt {
    /// The request that the shard needs of a rank, or nil while the rank waits for the shard or for other ranks.
    func missing(_ rank: Int) -> StepPhase? {
        let seen = ranks[rank].seen
        if !seen.contains(.begin) { return .begin }
        if sample != .done { return nil }
        if !seen.contains(.forward) && !seen.contains(.backward) { return .forward }
        if !hasForward(rank) { return nil }
        if !seen.contains(.backward) { return .backward }
        if !seen.contains(.dense) { return .dense }
        // One rank's `update` is enough.
        return denseReply != nil && update == .idle && updateInput == nil ? .update : nil
    }
}
