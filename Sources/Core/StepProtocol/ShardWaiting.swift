public import Cluster

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

    /// Why nothing can come of the attempt at this shard.
    public struct Failure: Sendable, Hashable, Codable {
        public var code: RefusalCode
        public var message: String
        /// The ranks whose input is to blame; empty if it is not known, or none in particular.
        public var ranks: [Int]

        public init(code: RefusalCode, message: String, ranks: [Int] = []) {
            self.code = code
            self.message = message
            self.ranks = ranks
        }
    }

    public var id: StepID
    /// Whether the shard computes something itself: then nobody waits for a rank alone.
    public var isBusy: Bool
    public var ranks: [Rank]
    /// What the shard has refused: it waits for the next attempt.
    public var failure: Failure?

    public init(id: StepID, isBusy: Bool, ranks: [Rank], failure: Failure? = nil) {
        self.id = id
        self.isBusy = isBusy
        self.ranks = ranks
        self.failure = failure
    }
}

extension ShardMachine {
    /// Whom the shard waits for, or nil while it takes no part in an attempt.
    public func waiting(at now: Duration) -> ShardWaiting? {
        guard let plan, plan.activity == .train, plan.id == current, plan.committed == committed, runningTask == nil,
            plan.shards.contains(where: { $0.shard == member })
        else { return nil }
        if let failure = attempt?.failure {
            return ShardWaiting(id: plan.id, isBusy: false, ranks: [], failure: failure)
        }
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
        if !seen.contains(.backward), ranks[rank].forward.isRunning { return nil }
        if !seen.contains(.forward) && !seen.contains(.backward) { return .forward }
        if !seen.contains(.backward) { return .backward }
        if isHeadOnly { return nil }
        if !seen.contains(.dense) { return .dense }
        // One rank's `update` is enough.
        return denseReply != nil && update == .idle && updateInput == nil ? .update : nil
    }
}
