public import Determinism

extension CoordinatorMachine {
    /// What happens to the coordinator. `Peer` names the connection that a message came over, so that it can be answered.
    public enum Event: Sendable {
        /// A process that passed the handshake wants a number.
        ///
        /// `incarnation` is drawn at random when a process starts. `previousNumber` and `stateStep` (-1: none) are what a
        /// shard remembers of the run.
        case joined(
            Peer, role: MemberRole, incarnation: UInt64, endpoint: String, previousNumber: Int?, stateStep: Int)
        /// A sign of life. A shard may say which step it has committed.
        case heartbeat(Peer, MemberID, incarnation: UInt64, stateStep: Int?)
        /// The member says that it goes.
        case left(MemberID, incarnation: UInt64)
        /// A worker wants the current plan.
        case ready(Peer, MemberID, incarnation: UInt64)
        /// Every shard is prepared for this worker's rank.
        case stepDone(Peer, MemberID, incarnation: UInt64, StepResult)
        case stepFailed(Peer, MemberID, incarnation: UInt64, StepID, code: RefusalCode, message: String)
        /// The operator's words: each takes effect at the next step boundary.
        case pause, resume, stop
        /// `nextDeadline` has passed.
        case tick
    }

    /// What the shell must do, in this order.
    public enum Action: Sendable {
        /// The process has this number from now on.
        case welcome(Peer, MemberID)
        /// The message is not taken. With `incarnation` or `notWelcomed` the process must join again.
        case refuse(Peer, RefusalCode, message: String)
        /// Send the plan to the member, over the connection it last used.
        case send(MemberID, Peer, Plan)
        /// A step is committed.
        case committed(StepReport)
        /// A line for the operator's log.
        case event(EventLevel, String)
        /// All steps are committed, or the operator stopped the run, and every shard that can be reached knows it.
        case finished
        /// The run cannot go on. Given once.
        case failed(reason: String)
    }
}

/// How much an operator should care.
public enum EventLevel: Sendable, Hashable {
    case info, warning, error
}

/// What is known of a committed step.
public struct StepReport: Sendable, Hashable {
    public var step: Int
    /// Mean over the global batch.
    public var loss: Double
    /// Norm of the backbone gradient before clipping.
    public var gradientNorm: Double
    public var learningRate: Float
    /// How often the step was begun.
    public var attempts: Int
    public var worldSize: Int
    /// Seconds from the first attempt's plan to the commit.
    public var seconds: Double
    /// The workers that computed it, by rank, with their timings.
    public var results: [RankResult]

    public struct RankResult: Sendable, Hashable {
        public var worker: MemberID
        public var result: StepResult
    }
}

/// A snapshot of the run for an operator.
public struct CoordinatorStatus: Sendable {
    public struct Member: Sendable {
        public var id: MemberID
        public var endpoint: String
        /// Since it was last heard of.
        public var age: Duration
        /// Whether its lease holds.
        public var isAlive: Bool
        /// Not heard of for half a lease, or the rank that the others wait for.
        public var isLate: Bool
        /// Of a shard.
        public var slices: SliceSet?
        public var denseSlices: SliceSet?
        /// Of a shard: the step it has committed, as far as it said.
        public var stateStep: Int?
        /// Of a worker in the running attempt.
        public var rank: Int?
        public var microBatches: Range<Int>?
        /// A worker's last finished step.
        public var lastResult: StepResult?
    }

    public var current: StepID
    public var committed: Int
    public var totalSteps: Int
    public var activity: Plan.Activity
    public var isPaused: Bool
    public var isStopping: Bool
    public var exchange: Exchange
    public var members: [Member]
    /// The last committed steps, oldest first.
    public var history: [StepReport]
}
