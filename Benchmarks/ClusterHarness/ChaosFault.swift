/// Harm that a supervisor does to a process.
public enum ChaosFault: String, Sendable, CaseIterable {
    case killWorker = "kill -9 a worker"
    case killShard = "kill -9 a shard"
    case killCoordinator = "kill -9 the coordinator"
    case killEverything = "kill -9 everything"
    case stopWorker = "SIGSTOP a worker, briefly"
    case stopShard = "SIGSTOP a shard, briefly"
    case stopCoordinator = "SIGSTOP the coordinator, briefly"
    case stopWorkerPastLease = "SIGSTOP a worker past its lease"
    case stopShardPastLease = "SIGSTOP a shard past its lease"
    case stopCoordinatorPastLease = "SIGSTOP the coordinator past the lease"
    case restartWorker = "SIGTERM a worker, start another"
    case killDuringCheckpoint = "kill -9 during a checkpoint"
    case killDuringMove = "kill -9 while slices move"
    case killDuringRestart = "kill -9 while the coordinator restarts"
}

/// A change of the cluster that is no harm.
public enum ChaosChange: String, Sendable, CaseIterable {
    case addShard = "a shard joins"
    case drainShard = "a shard is drained"
    case terminateShard = "a shard gets SIGTERM"
    case addWorker = "a worker joins"
    case removeWorker = "a worker leaves"
    case checkpoint = "a checkpoint"
    case rebalance = "rebalance"
}

/// What a supervisor did to a run, and what came of it.
public struct ChaosReport: Sendable {
    public var faults: [ChaosFault: Int] = [:]
    public var changes: [ChaosChange: Int] = [:]
    /// Of the kills that were to meet something under way, how many did: the status showed it just before.
    public var met: [ChaosFault: Int] = [:]
    /// Processes that ended by themselves though they should not have: name and how.
    public var unexpected: [String] = []
    /// The fewest and the most shards that owned slices at the same time.
    public var owners = (fewest: Int.max, most: 0)
    /// Committed steps at which the first and the last fault happened.
    public var steps = (first: -1, last: -1)

    public init() {}

    /// All faults together.
    public var faultCount: Int { faults.values.reduce(0, +) }
    /// All changes together.
    public var changeCount: Int { changes.values.reduce(0, +) }
    /// Processes that ended by a signal that nobody sent: a crash.
    public var crashes: [String] { unexpected.filter { $0.contains("signal") } }
}
