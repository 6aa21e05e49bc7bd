public import Cluster

/// The coordinator's answer at a step boundary: what the world does next.
public struct Plan: Sendable, Hashable {
    /// Ascending within a term: every change of the plan has a new one. Members ignore older plans.
    public var revision: Int
    /// The step to compute. Meaningful while `activity` is `.train`.
    public var id: StepID
    /// The last committed step, -1 before the first.
    public var committed: Int
    /// The attempt of it that was committed (`StepID.skipped` if it was skipped); nil if that is not known.
    public var committedID: StepID?
    /// Version of the slice map in `shards`: raised whenever ownership or the classes change.
    public var mapVersion: Int
    /// How many class operations have been applied.
    public var classVersion: Int
    /// The newest step that every shard holds durably: no shard will be asked to go back behind it.
    public var safe: Int
    public var exchange: Exchange
    public var learningRate: Float
    /// The values of the head in this step; nil: those of the configuration's `head:`.
    public var head: HeadValues?
    /// The workers of this attempt, by rank.
    public var ranks: [Rank]
    /// The shards that own slices, in order of their number.
    public var shards: [Shard]
    /// Slices on their way to another shard.
    public var moves: [SliceMove]
    public var activity: Activity
    /// The name of the past that the shards' state is of (`Past.name`); 0 if it has none.
    public var past: UInt64
    /// The coordinator process that this term is of; 0 if it does not say.
    public var coordinator: UInt64

    /// The job whose processes are the ranks; nil: none, or the run is trained by workers of its own. With one there is no backbone on the
    /// shards, and a step ends with `backward`.
    public var job: PlanJob?

    /// The most ranks, and the most shards, that a plan has room for.
    public static let memberLimit = 4096

    /// A worker's part of the global batch.
    public struct Rank: Sendable, Hashable {
        public var worker: MemberID
        /// The micro-batches it computes; may be empty.
        public var microBatches: Range<Int>
        /// Of the process that is the worker; nil from a coordinator that does not say.
        public var incarnation: UInt64?

        public init(worker: MemberID, microBatches: Range<Int>, incarnation: UInt64? = nil) {
            self.worker = worker
            self.microBatches = microBatches
            self.incarnation = incarnation
        }
    }

    /// A shard's part of the model.
    public struct Shard: Sendable, Hashable {
        public var shard: MemberID
        /// Where workers reach it: a ZeroMQ endpoint.
        public var endpoint: String
        /// The slices of class centers it owns.
        public var slices: SliceSet
        /// The dense slices (backbone parameters) it owns.
        public var denseSlices: SliceSet
        /// The slices of other shards that it keeps a second copy of. It gets the gradients of the dense ones too.
        public var kept: SliceSet
        public var keptDense: SliceSet

        public init(
            shard: MemberID, endpoint: String, slices: SliceSet, denseSlices: SliceSet, kept: SliceSet = [],
            keptDense: SliceSet = []
        ) {
            self.shard = shard
            self.endpoint = endpoint
            self.slices = slices
            self.denseSlices = denseSlices
            self.kept = kept
            self.keptDense = keptDense
        }

        /// The slices that it owns.
        public var names: Set<SliceName> { Set(centers: slices, dense: denseSlices) }
        /// Those that it keeps a copy of.
        public var keptNames: Set<SliceName> { Set(centers: kept, dense: keptDense) }
    }

    /// What members do until the next plan.
    public enum Activity: Sendable, Hashable {
        /// Compute step `id`.
        case train
        /// Do nothing yet; the reason is for the operator ("waiting for 1 of 2 shards").
        case wait(reason: String)
        /// Shards execute the task and acknowledge it; workers wait.
        case task(BoundaryTask)
        /// All steps are committed, and the results of the run are due: `writer` writes them, other workers stand by. Nil: a worker
        /// is waited for.
        case finishing(writer: MemberID?)
        /// All steps are committed and the results are written; members may leave.
        case finished
        /// The run cannot go on.
        case failed(reason: String)
    }

    public init(
        revision: Int = 0, id: StepID, committed: Int, mapVersion: Int, classVersion: Int = 0, safe: Int = -1,
        exchange: Exchange,
        learningRate: Float, ranks: [Rank], shards: [Shard], moves: [SliceMove] = [], activity: Activity,
        past: UInt64 = 0, coordinator: UInt64 = 0, committedID: StepID? = nil, job: PlanJob? = nil,
        head: HeadValues? = nil
    ) {
        self.revision = revision
        self.id = id
        self.committed = committed
        self.mapVersion = mapVersion
        self.classVersion = classVersion
        self.safe = safe
        self.exchange = exchange
        self.learningRate = learningRate
        self.ranks = ranks
        self.shards = shards
        self.moves = moves
        self.activity = activity
        self.past = past
        self.coordinator = coordinator
        self.committedID = committedID
        self.job = job
        self.head = head
    }

    /// What this plan names that a run of these sizes does not have, or nil.
    ///
    /// Members check it before they follow a plan: what they compute with takes its ranges for granted.
    public func misfit(microBatchCount: Int, sliceCount: Int, denseSliceCount: Int, totalSteps: Int) -> String? {
        func exceeds(_ range: Range<Int>, _ count: Int) -> Bool { range.lowerBound < 0 || range.upperBound > count }
        if activity == .train, id.step < 0 || id.step >= totalSteps { return "\(id) of a run of \(totalSteps) steps" }
        for rank in ranks where exceeds(rank.microBatches, microBatchCount) {
            return "micro-batches \(rank.microBatches) of \(microBatchCount) for \(rank.worker)"
        }
        for shard in shards {
            if exceeds(shard.slices.bounds, sliceCount) {
                return "slices \(shard.slices) of \(sliceCount) for \(shard.shard)"
            }
            if exceeds(shard.denseSlices.bounds, denseSliceCount) {
                return "dense slices \(shard.denseSlices) of \(denseSliceCount) for \(shard.shard)"
            }
            if exceeds(shard.kept.bounds, sliceCount) || exceeds(shard.keptDense.bounds, denseSliceCount) {
                return "copies of slices \(shard.kept) and dense slices \(shard.keptDense) at \(shard.shard)"
            }
        }
        for move in moves where !(0..<(move.slice.isDense ? denseSliceCount : sliceCount)).contains(move.slice.number) {
            return "a move of \(move.slice)"
        }
        return nil
    }

    /// The shard that keeps a second copy of a slice; nil if none does.
    public func keeper(of slice: SliceName) -> MemberID? {
        shards.first { (slice.isDense ? $0.keptDense : $0.kept).contains(slice.number) }?.shard
    }

    /// The shard that owns a slice; nil if none does.
    func owner(of slice: SliceName) -> MemberID? {
        shards.first { (slice.isDense ? $0.denseSlices : $0.slices).contains(slice.number) }?.shard
    }

    /// Whether the committed step is of this attempt, as far as that is known.
    func isCommitted(_ attempt: StepID) -> Bool {
        attempt.step == committed && (committedID ?? attempt) == attempt
    }

    /// Whether a shard that follows this plan takes part in the request: a step is computed while the plan says so, and who writes the
    /// results gets the parameters.
    func announces<Payload>(_ request: StepRequest<Payload>) -> Bool {
        guard request.id == id else { return false }
        switch activity {
        case .train: return true
        case .finishing: return request.phase == .parameters
        case .wait, .task, .finished, .failed: return false
        }
    }

    /// Whether both plans have the same attempt computed in the same way, whatever else has changed.
    func isSameAttempt(as other: Plan) -> Bool {
        let isComputed =
            switch activity {
            case .train, .finishing: true
            case .wait, .task, .finished, .failed: false
            }
        return isComputed && activity == other.activity && id == other.id && mapVersion == other.mapVersion
            && ranks == other.ranks && shards == other.shards
    }

    /// Whether this plan was made after `other`, or is the same.
    public func supersedes(_ other: Plan) -> Bool { (id.term, revision) >= (other.id.term, other.revision) }
}
