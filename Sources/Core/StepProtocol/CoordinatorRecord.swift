public import Cluster
public import Succession

/// Everything that a coordinator must not forget: its decisions, in sum. The shell keeps them in SQLite.
public struct CoordinatorRecord: Sendable, Hashable, Codable {
    /// The term of the coordinator that wrote last.
    public var term = 0
    /// The last committed step, -1 before the first.
    public var committed = -1
    public var mapVersion = 0
    /// The shard that owns each slice, by its number; empty before the first map.
    public var owners: [SliceName: Int] = [:]
    /// The shard that keeps a second copy of each slice, by its number; missing: none does.
    public var keepers: [SliceName: Int] = [:]
    /// Shards and workers that were not given up.
    public var members: [MemberID: MemberRecord] = [:]
    /// The numbers that the next new shard and worker get.
    public var nextShard = 0
    public var nextWorker = 0
    public var moves: [SliceMove] = []
    /// The task that shards are executing.
    public var task: BoundaryTask?
    public var nextTask = 1
    /// Every class operation that was ordered, in order; those of `classVersion` are applied.
    public var operations: [ClassChange] = []
    public var classVersion = 0
    public var checkpoints: [CheckpointRecord] = []
    /// The operator's changes of the learning rate by step, ascending; the last one may wait for its step.
    public var rates: [LearningRateChange] = []
    /// The operator's changes of the head's values by step, ascending; the last one may wait for its step. Copies of earlier versions do not
    /// say it: nobody could change them then.
    public var headChanges: [HeadChange] {
        get { knownHeadChanges ?? [] }
        set { knownHeadChanges = newValue.isEmpty ? nil : newValue }
    }
    private var knownHeadChanges: [HeadChange]?
    public var isPaused = false
    public var isStopping = false
    /// Why the run failed, nil if it did not.
    public var failure: String?
    /// The last step whose results are settled: written, or given up. Nil: none.
    public var resultsStep: Int?
    /// What the present is built on, ascending; empty before the first map.
    public var pasts: [Past] = []
    /// The newest step that every owner was known to hold durably.
    public var safe = -1
    /// The attempts that the last committed steps are of, ascending by step. A step of which that is not known is missing: it was
    /// committed by an earlier version, or came with a checkpoint.
    public var attempts: [StepID] = []

    /// Seconds that workers take for a micro-batch, by their number: by these a step is divided among them. A worker that is missing counts as
    /// fast as the others.
    public var paces: [Int: Double] = [:]

    /// The job that trains, and those that have ended.
    public var jobs = JobHistory()

    /// Which coordinators decide. Copies of earlier versions do not say it: there was one then.
    public var view: CoordinatorView {
        get { knownView ?? CoordinatorView() }
        set { knownView = newValue == CoordinatorView() ? nil : newValue }
    }
    private var knownView: CoordinatorView?

    /// How many attempts are kept: shards tell theirs of fewer steps.
    public static let attemptLimit = 8

    /// The attempt of `step` that was committed; nil if that is not known.
    public func attempt(of step: Int) -> StepID? { attempts.last { $0.step == step } }

    /// A member as it was when it last joined.
    public struct MemberRecord: Sendable, Hashable, Codable {
        public var incarnation: UInt64
        public var endpoint: String
        /// A shard that hands its slices over and goes.
        public var isDraining = false
        /// Of a shard: where its directory is, for people, and what names the directory itself (`ShardHoldings`).
        public var place = ""
        public var directory: UInt64 = 0
        /// Of a shard: the name of what fails together with it; nil for the host of its endpoint.
        public var zone: String?

        public init(
            incarnation: UInt64, endpoint: String, isDraining: Bool = false, place: String = "", directory: UInt64 = 0,
            zone: String? = nil
        ) {
            self.incarnation = incarnation
            self.endpoint = endpoint
            self.isDraining = isDraining
            self.place = place
            self.directory = directory
            self.zone = zone
        }
    }

    /// A class operation and the step after which it was applied; nil while it waits.
    public struct ClassChange: Sendable, Hashable, Codable {
        public var operation: ClassOperation
        public var afterStep: Int?

        public init(operation: ClassOperation, afterStep: Int? = nil) {
            self.operation = operation
            self.afterStep = afterStep
        }
    }

    public struct CheckpointRecord: Sendable, Hashable, Codable {
        public var step: Int
        public var directory: String
        public var classVersion: Int
        /// The past that it is of (`Past.name`); nil if that is not known.
        public var past: UInt64?

        public init(step: Int, directory: String, classVersion: Int, past: UInt64? = nil) {
            self.step = step
            self.directory = directory
            self.classVersion = classVersion
            self.past = past
        }

        /// Where it is written: it gets its place when it is whole, so that one that is there is not overwritten half.
        public var partialDirectory: String { directory + Self.partialSuffix }

        static let partialSuffix = ".partial"
    }

    public init() {}

    /// One decision. The shell writes it before it does anything that follows it.
    public enum Decision: Sendable, Hashable, Codable {
        /// A coordinator has started, or the cluster goes back: `committed` is the last step that counts.
        case term(Int, committed: Int)
        /// With `safe` and `paces` the only decision that a power cut may take back: the shards know better.
        case committed(StepID)
        /// What is known of the attempts that the last committed steps are of is this.
        case attempts([StepID])
        case map(version: Int, owners: [SliceName: Int])
        /// Who keeps second copies. Always with a new map.
        case keepers([SliceName: Int])
        case member(MemberID, MemberRecord)
        case gone(MemberID)
        case moves([SliceMove])
        /// A task begins, or none is under way any more.
        case task(BoundaryTask?)
        case operations([ClassChange], classVersion: Int)
        case checkpoints([CheckpointRecord])
        case rates([LearningRateChange])
        case head([HeadChange])
        case paused(Bool)
        case stopping(Bool)
        case failed(String?)
        /// The results after this step are settled; nil: none are any more.
        case results(step: Int?)
        case pasts([Past])
        /// Shards know it too.
        case safe(Int)
        /// Any division gives the same results.
        case paces([Int: Double])
        case jobs(JobHistory)
        case view(CoordinatorView)

        /// Whether it must survive a power cut before anyone hears of it.
        public var mustBeDurable: Bool {
            switch self {
            case .committed, .safe, .paces: false
            default: true
            }
        }

        /// Whether the standby of the coordinator must have it before anyone hears of it.
        public var mustBeDoubled: Bool {
            switch self {
            case .safe, .paces: false
            default: true
            }
        }
    }

    public mutating func apply(_ decision: Decision) {
        switch decision {
        case .term(let term, let committed):
            (self.term, self.committed) = (term, committed)
            attempts.removeAll { $0.step > committed }
        case .committed(let id):
            committed = id.step
            attempts.removeAll { $0.step >= id.step || $0.step <= id.step - Self.attemptLimit }
            attempts.append(id)
        case .attempts(let attempts): self.attempts = attempts
        case .map(let version, let owners): (mapVersion, self.owners) = (version, owners)
        case .keepers(let keepers): self.keepers = keepers
        case .member(let member, let record):
            members[member] = record
            switch member.role {
            case .shard: nextShard = max(nextShard, member.number + 1)
            case .worker: nextWorker = max(nextWorker, member.number + 1)
            case .operator: break
            }
        case .gone(let member): members[member] = nil
        case .moves(let moves): self.moves = moves
        case .task(let task):
            self.task = task
            if let task { nextTask = max(nextTask, task.number + 1) }
        case .operations(let operations, let version): (self.operations, classVersion) = (operations, version)
        case .checkpoints(let checkpoints): self.checkpoints = checkpoints
        case .rates(let rates): self.rates = rates
        case .head(let changes): headChanges = changes
        case .paused(let value): isPaused = value
        case .stopping(let value): isStopping = value
        case .failed(let reason): failure = reason
        case .results(let step): resultsStep = step
        case .pasts(let pasts): self.pasts = pasts
        case .safe(let step): safe = step
        case .paces(let paces): self.paces = paces
        case .jobs(let jobs): self.jobs = jobs
        case .view(let view): self.view = view
        }
    }
}
