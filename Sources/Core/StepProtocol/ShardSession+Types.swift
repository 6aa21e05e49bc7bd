public import Cluster

/// What a shard's session waits for and how often it repeats itself.
public struct ShardTiming: Sendable, Hashable {
    /// Chunks that are given to other shards between two commits while the cluster trains.
    public var transfersPerStep: Int
    /// Chunks and records of slices on their way here that may be under way or being stored.
    public var window: Int
    /// A part of a slice that does not come is asked for again after this.
    public var retryInterval: Duration
    /// How long a shard that is told to end waits for the coordinator to say that its slices are handed over first.
    public var drainPatience: Duration

    public init(
        transfersPerStep: Int = 8, window: Int = 4, retryInterval: Duration = .seconds(2),
        drainPatience: Duration = .seconds(2)
    ) {
        self.transfersPerStep = transfersPerStep
        self.window = window
        self.retryInterval = retryInterval
        self.drainPatience = drainPatience
    }
}

extension ShardSession {
    /// What the directory of a shard was found to hold when the process was started.
    public struct Directory: Sendable, Hashable {
        /// Whether there are slices in it, and whether the shard owned any.
        public var holdsSlices: Bool
        public var ownsSlices: Bool
        /// Whether the process before this one was ended on its way out.
        public var isGoing: Bool

        public init(holdsSlices: Bool = false, ownsSlices: Bool = false, isGoing: Bool = false) {
            self.holdsSlices = holdsSlices
            self.ownsSlices = ownsSlices
            self.isGoing = isGoing
        }
    }

    /// What a hello says of the past of this shard.
    public struct Introduction: Sendable, Hashable {
        /// The cluster that it is a member of; empty before the first welcome.
        public var cluster: String
        /// The number that it had.
        public var previousNumber: Int?
        /// What it holds.
        public var state: ShardState
        /// The newest term that it knows from a plan, and that plan's coordinator; 0: none.
        public var term = 0
        public var coordinator: UInt64 = 0

        public init(cluster: String = "", previousNumber: Int? = nil, state: ShardState) {
            self.cluster = cluster
            self.previousNumber = previousNumber
            self.state = state
        }
    }

    /// What was loaded.
    public struct Prepared: Sendable {
        /// Micro-batches in the global batch.
        public var microBatchCount: Int
        /// The last committed step, the step that is applied on top of it, and the last task that need not be done again.
        public var committed: Int
        public var prepared: StepID?
        public var lastTask: Int
        /// Complete copies of slices that this shard does not own yet.
        public var handedOver: Set<SliceName>
        /// Second copies of other shards' slices.
        public var kept: [SliceName: KeptCopy]

        public init(
            microBatchCount: Int, committed: Int = -1, prepared: StepID? = nil, lastTask: Int = 0,
            handedOver: Set<SliceName> = [], kept: [SliceName: KeptCopy] = [:]
        ) {
            self.microBatchCount = microBatchCount
            self.committed = committed
            self.prepared = prepared
            self.lastTask = lastTask
            self.handedOver = handedOver
            self.kept = kept
        }
    }

    /// What happens to a shard.
    public enum Event: Sendable {
        /// The coordinator has let it in, for the first time or again.
        case welcomed(cluster: String, MemberID)
        /// What the directory holds is loaded: the answer to `prepare`. To be told after `holds`.
        case prepared(Prepared)
        /// It cannot be: what the coordinator wants, or what the directory holds.
        case notPrepared(problem: String, isConfiguration: Bool)
        /// What it holds, and how many operations on the classes it has seen. To be told before what depends on it.
        case holds(ShardState, classVersion: Int)
        /// The coordinator does not let this process in, and why.
        case turnedAway(RefusalCode, message: String)
        /// The coordinator has refused a message.
        case refused(RefusalCode)
        /// The coordinator's answer to `askToDrain` or `askToStay`.
        case answered(isAccepted: Bool, text: String)
        /// A plan, and what in it does not fit the run.
        case plan(Plan, misfit: String? = nil)
        /// The coordinator has told the operations on the classes; so many there are.
        case classes(version: Int)
        /// The operations that `adoptClasses` asked for are known.
        case classesAdopted
        /// The directory is left empty, or why not: the answer to `giveUp`. To be told after `holds`.
        case gaveUp(problem: String?)
        /// Something that the machine of the steps must hear.
        case step(Machine.Event)
        /// Something about slices on their way here.
        case copy(Receiver.Event)
        /// Something about second copies of others' slices.
        case keep(Keeper.Event)
        /// Another shard's answer, and the request that it answers: one that was asked in another term is worth nothing.
        case reply(to: TransferRequest, TransferReply<Parcel>)
        /// The connection to another shard was lost: what was asked is asked again.
        case unreachable(MemberID)
        /// Bytes of another shard's answers come in: what was asked is not asked again meanwhile.
        case moving(MemberID)
        /// The state cannot be trusted.
        case broken(String)
        /// The process is told to end. `mayDrain`: it may hand its slices over first.
        case stop(reason: String, mayDrain: Bool)
        /// `nextDeadline` has passed.
        case tick
    }

    /// What the shell must do, in this order.
    public enum Action: Sendable {
        /// What the machine of the steps asks for.
        case step(Machine.Action)
        /// What the receiver asks for; never `complete`.
        case copy(Receiver.Action)
        /// What the keeper of second copies asks for.
        case keep(Keeper.Action)
        /// Say hello to the coordinator again, until there is a welcome.
        case greet
        /// The next hello says what `introduction` says now.
        case introduce
        /// Load what the directory holds, which is this shard's from now on; answer with `prepared`.
        case prepare
        /// The shard has another number: the directory and what is computed are that one's.
        case rename(MemberID)
        /// Give a sign of life now, and then at regular intervals.
        case beat
        /// This plan is followed from now on.
        case follow(Plan)
        /// Ask the coordinator for its operations on the classes.
        case askForClasses
        /// Take over the operations that the coordinator has told, then answer with `classesAdopted`.
        case adoptClasses
        /// Ask the coordinator to have the slices handed over, or to forget that this was asked.
        case askToDrain(MemberID)
        case askToStay(MemberID)
        /// Note in the directory whether this process is on its way out.
        case note(isGoing: Bool)
        /// Leave the directory empty; answer with `gaveUp`.
        case giveUp
        /// A line for whoever reads the log.
        case say(EventLevel, String)
        /// Tell the coordinator that this shard goes, and why.
        case leave(MemberID, reason: String, exitCode: Int32)
        /// End the process.
        case end(exitCode: Int32)
    }
}
