public import Cluster
public import Succession

extension CoordinatorMachine {
    /// What happens to the coordinator. A `PeerID` names the connection that a message came over, so that it can be answered.
    public enum Event: Sendable {
        /// A process that passed the handshake wants a number.
        ///
        /// `incarnation` is drawn at random when a process starts. `previousNumber` is what the process was before, `state` what a
        /// shard holds durably. `place` is where a worker runs, and `replaces` the incarnation of the process that it was there
        /// before, which is dead. `writesResults`: of a worker, whether it can write the results of the run. `job`: of a worker with a
        /// network of its own. `zone`: of a shard, what fails together with it; empty for the host of `endpoint`.
        case joined(
            PeerID, role: MemberRole, incarnation: UInt64, endpoint: String, previousNumber: Int?, state: ShardState?,
            place: String = "", replaces: UInt64? = nil, writesResults: Bool = false, job: JobRank? = nil,
            zone: String = "")
        /// A process says, besides something else, the newest term that it knows and the coordinator process that began it (0: not
        /// known). To be told before the rest of its message. Only of a member's process it counts: any other is given a new number, with
        /// which it begins anew.
        case knows(term: Int, coordinator: UInt64, from: UInt64)
        /// A sign of life, of a shard what it holds, and of a worker what it does.
        case heartbeat(
            PeerID, MemberID, incarnation: UInt64, report: ShardReport?, activity: WorkerActivity? = nil)
        /// A shard has prepared the attempt.
        case prepared(PeerID, MemberID, incarnation: UInt64, StepID)
        /// The member says that it goes, why, and what its process ends with: 0 if that is as it should be.
        case left(MemberID, incarnation: UInt64, reason: String = "", exitCode: Int = 0)
        /// A worker wants the current plan.
        case ready(PeerID, MemberID, incarnation: UInt64)
        /// Every shard is prepared for this worker's rank.
        case stepDone(PeerID, MemberID, incarnation: UInt64, StepResult)
        /// `by`: the shard that has refused the worker's part, if one has.
        case stepFailed(
            PeerID, MemberID, incarnation: UInt64, StepID, code: RefusalCode, message: String, by: MemberID? = nil)
        /// A worker has written the results as the plan of this id asked it to, or could not, and why.
        case resultsWritten(PeerID, MemberID, incarnation: UInt64, StepID, problem: String?)
        /// A worker has evaluated the parameters after a step beside the training, or will not, and why.
        case evaluated(PeerID, MemberID, incarnation: UInt64, step: Int, problem: String?)
        /// A shard has executed a boundary task, or could not.
        case taskDone(PeerID, MemberID, incarnation: UInt64, number: Int, TaskOutcome)
        /// The operator's words: each takes effect at the next step boundary.
        case pause, stop
        /// Takes back `pause` and `stop`.
        case resume
        /// A shard hands its slices over and goes.
        case drain(MemberID)
        /// A shard that was to go stays.
        case undrain(MemberID)
        /// Even out ownership.
        case rebalance
        /// Write a checkpoint.
        case checkpoint
        case classes(ClassOperation)
        /// Go back to a checkpoint; without a path to the newest. Of one that the record does not name: its step, past and class version.
        case restore(checkpoint: String?, step: Int?, past: UInt64? = nil, classVersion: Int? = nil)
        /// A shard is lost for good: its slices go to the others, and the cluster goes back to the newest checkpoint. One that owned
        /// nothing is just forgotten.
        case forget(MemberID)
        /// Call off what is under way, where that is sound: a task, an order that is being checked, the results.
        case cancel
        /// The rate of the steps that have not begun.
        case learningRate(LearningRateRule)
        /// Values of the head in the steps that have not begun.
        case head(HeadOrder)
        /// The view of the coordinators becomes this (`Replication`).
        case view(CoordinatorView)
        /// The manifest of the checkpoint of this task is written, or could not be.
        case checkpointWritten(number: Int, problem: String?)
        /// `nextDeadline` has passed.
        case tick
    }

    /// What the shell must do, in this order.
    public enum Action: Sendable {
        /// Write the decision. What follows must not happen before it is written. The decisions of an event come first, and are
        /// written in one transaction.
        case persist(CoordinatorRecord.Decision)
        /// The process has this number from now on.
        case welcome(PeerID, MemberID)
        /// The message is not taken. With `incarnation` or `notWelcomed` the process must join again.
        case refuse(PeerID, RefusalCode, message: String)
        /// A drained shard owns nothing any more: it may go.
        case dismiss(PeerID, MemberID)
        /// Send the plan to the member, over the connection it last used.
        case send(MemberID, PeerID, Plan)
        /// A step is committed.
        case committed(StepReport)
        /// A line for the operator's log.
        case event(EventLevel, String)
        /// The operator's order cannot be followed, and why.
        case refuseOperator(String)
        /// Every shard has written its slices of the checkpoint of task `number`, and said which files: write the manifest and
        /// answer with `checkpointWritten`.
        case writeCheckpoint(number: Int, CoordinatorRecord.CheckpointRecord, details: [MemberID: String])
        /// Move the files of a checkpoint aside: it is of what the cluster went back behind.
        case abandonCheckpoint(CoordinatorRecord.CheckpointRecord)
        /// Remove the files of a checkpoint.
        case deleteCheckpoint(CoordinatorRecord.CheckpointRecord)
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
    /// Mean over the global batch; nil if the step was skipped.
    public var loss: Double?
    /// Norm of the backbone gradient before clipping; nil if the step was skipped.
    public var gradientNorm: Double?
    public var learningRate: Float
    /// The values of the head that it was computed with.
    public var head: HeadValues
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
        /// Not heard of for half a lease, or the rank that the others wait for; not of a worker when the run is over.
        public var isLate: Bool
        /// Of a shard.
        public var slices: SliceSet?
        public var denseSlices: SliceSet?
        public var isDraining: Bool
        /// Of a shard: its last report.
        public var report: ShardReport?
        /// Why it left, if it did and is not back; empty otherwise.
        public var goodbye: String
        /// Of a worker in the running attempt.
        public var rank: Int?
        public var microBatches: Range<Int>?
        /// A worker's last finished step.
        public var lastResult: StepResult?
        /// Why a worker takes no part for now, or a shard gets no slices; empty if it does, or may.
        public var leftOut = ""
    }

    /// A slice on its way; `received` is the step up to which the copy is complete, nil while it is being copied.
    public struct Move: Sendable {
        public var move: SliceMove
        public var received: Int?
    }

    /// An order about classes that shards check before it is decided.
    public struct ClassOrder: Sendable, Hashable {
        public enum State: Sendable, Hashable {
            /// Shards are asked, or will be at the next boundary.
            case checking
            case decided
            case refused(String)
        }
        /// Ascending, from 1.
        public var number: Int
        public var operation: ClassOperation
        public var state: State
    }

    /// A step that was skipped, and what was not finite.
    public struct Skipped: Sendable, Hashable {
        public var step: Int
        public var message: String
    }

    /// The job that trains, or that trained last and has not ended.
    public struct Job: Sendable, Hashable {
        /// As people read it: 16 hexadecimal digits.
        public var name: String
        /// The step that it began after.
        public var since: Int
        /// Its ranks; nil for one that is not there.
        public var ranks: [MemberID?]
    }

    /// How many slices have a second copy, and what a loss would cost now.
    public struct Copies: Sendable, Hashable {
        /// Copies that there should be of every slice.
        public var wanted: Int
        public var slices: Int
        /// Slices with a second copy that counts.
        public var complete: Int
        /// The oldest step that a copy would be made current from, and the steps since.
        public var oldest: Int?
        public var stepsToReplay: Int?
        /// Of the last steps, the median.
        public var secondsPerStep: Double?
        /// Why no slice can have a second copy; empty if slices can.
        public var problem = ""
    }

    public var current: StepID
    /// Nil in a run that keeps one copy of each slice.
    public var copies: Copies?
    /// Nil in a run without jobs, and while there is none.
    public var job: Job?
    public var committed: Int
    /// The newest step that every shard holds durably.
    public var safe: Int
    public var totalSteps: Int
    public var mapVersion: Int
    public var classVersion: Int
    /// Class operations that wait for a step boundary.
    public var pendingOperations: [ClassOperation]
    public var activity: Plan.Activity
    /// Shards that have yet to acknowledge the task.
    public var taskPending: [MemberID]
    /// The task that is decided and not done, also while nobody can do it.
    public var task: BoundaryTask?
    /// Why shards could not do it, by shard.
    public var taskFailures: [MemberID: String]
    /// The last order about classes that shards had to check; nil: none since this coordinator started.
    public var order: ClassOrder?
    public var isPaused: Bool
    public var isStopping: Bool
    public var exchange: Exchange
    public var members: [Member]
    public var moves: [Move]
    public var checkpoints: [CoordinatorRecord.CheckpointRecord]
    /// The operator's changes of the learning rate, by step.
    public var rates: [LearningRateChange]
    /// The rate of `current`; nil if the job chooses it.
    public var learningRate: Float?
    /// The operator's changes of the head's values, by step.
    public var headChanges: [HeadChange]
    /// The values of the head in `current`.
    public var head: HeadValues
    /// Steps that were skipped since this coordinator started.
    public var skippedSteps: Int
    public var lastSkipped: Skipped?
    /// Why the results could not be written the last time; empty if nothing went wrong.
    public var resultsProblem: String
    /// Evaluations beside the training that were due and were not made, since this coordinator started.
    public var missedEvaluations: Int
    /// The member that the others wait for, step after step.
    public var straggler: String?
    /// For whom the running attempt waits, and for how long already; empty if for nobody in particular.
    public var waitingFor = ""
    /// Since the last step was committed, or since this coordinator started.
    public var stepAge: Duration
    /// The last committed steps, oldest first.
    public var history: [StepReport]
}
