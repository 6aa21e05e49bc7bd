public import Cluster

/// What a shard says of its durable state when it joins.
public struct ShardState: Sendable, Hashable, Codable {
    /// The newest step in its log, prepared or committed; -1 for a fresh shard.
    public var newest: Int
    /// The oldest step that it can go back to by itself; larger than `newest` if it cannot at all.
    public var oldest: Int
    /// Whether it logs steps. One that does not has lost its state when its process ends, and nobody is surprised.
    public var logsSteps: Bool
    /// Whether it holds the initial state or a log at all: false for a shard that owns nothing yet.
    public var hasSlices: Bool
    /// What it holds in detail; nil from a shard that does not say.
    public var holdings: ShardHoldings?

    public init(
        newest: Int = -1, oldest: Int = -1, logsSteps: Bool = true, hasSlices: Bool = false,
        holdings: ShardHoldings? = nil
    ) {
        self.newest = newest
        self.oldest = oldest
        self.logsSteps = logsSteps
        self.hasSlices = hasSlices
        self.holdings = holdings
    }

    /// The state once a step is committed that it was told to commit, and may be busy with. A shard that logs nothing cannot go back
    /// before it: whoever asks must not hear that it can.
    public func after(commitOf step: Int) -> ShardState {
        guard !logsSteps, hasSlices else { return self }
        var state = self
        (state.newest, state.oldest) = (max(newest, step), max(oldest, step))
        return state
    }
}

/// What a shard reports with every heartbeat.
public struct ShardReport: Sendable, Hashable, Codable {
    /// The last step it has committed.
    public var committed: Int
    /// The last step that a power cut cannot take from it.
    public var durable: Int
    /// Slices it receives, and the step up to which its copy is complete; missing or -1: still being copied.
    public var received: [SliceName: Int]
    /// Why it cannot prepare ("the disk is full: …"), or empty.
    public var obstacle: String
    /// What is wrong although steps go on ("the snapshot cannot be written: …"), or empty.
    public var problem: String
    /// How often something went wrong and was made good at once, and what it was the last time.
    public var incidents: Int
    public var lastIncident: String
    /// The past that this is said of (`Past.name`); 0 if it does not say.
    public var past: UInt64
    /// The newest attempt that it is prepared for; `StepID.nothing` for none. nil: the shard does not tell.
    public var prepared: StepID?
    /// Whom it waits for in the running attempt.
    public var waiting: ShardWaiting?
    /// The slices of others that it has a second, complete copy of, and the step from which its log makes each current.
    public var kept: [SliceName: Int]

    public init(
        committed: Int, durable: Int, received: [SliceName: Int] = [:], obstacle: String = "", problem: String = "",
        incidents: Int = 0, lastIncident: String = "", past: UInt64 = 0, prepared: StepID? = nil,
        waiting: ShardWaiting? = nil, kept: [SliceName: Int] = [:]
    ) {
        self.committed = committed
        self.durable = durable
        self.received = received
        self.obstacle = obstacle
        self.problem = problem
        self.incidents = incidents
        self.lastIncident = lastIncident
        self.past = past
        self.prepared = prepared
        self.waiting = waiting
        self.kept = kept
    }
}
