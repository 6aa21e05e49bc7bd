public import Cluster

extension ShardMachine {
    /// What happens to a shard.
    public enum Event: Sendable {
        /// A worker sent a request over the connection `Peer`; the sender is what the hello of that connection said.
        case request(Peer, StepRequest<Payload>, from: StepSender? = nil)
        /// Bytes of large messages move between this worker and the shard.
        case moving(MemberID)
        /// The shell has executed a computation.
        case computed(StepID, ShardResult<Payload>)
        /// A computation refused its input and changed nothing.
        /// `blaming`: the ranks whose input it was, if that is known and not every rank.
        case failed(StepID, ShardTask, code: RefusalCode, message: String, blaming: [Int] = [])
        /// The coordinator's plan, in any order and any number of times.
        case plan(Plan)
        /// The shell has executed the computation `.task` with this number.
        case taskDone(number: Int, TaskOutcome)
        /// The copies that the task with this number hands over are complete (`SliceReceiver.Action.complete`).
        case copiesComplete(task: Int)
        /// The slices of others that the shell keeps a second, complete copy of have changed.
        case kept(Set<SliceName>)
        /// The past that the shard's state is of; 0 if that is not known.
        case past(UInt64)
        /// Another shard asks for a part of a slice that it receives.
        case transfer(Peer, TransferRequest)
        /// `nextDeadline` has passed.
        case tick
    }

    /// What the shell must do, in this order.
    public enum Action: Sendable {
        /// Send the reply to the connection that asked.
        case reply(Peer, StepReply<Payload>)
        /// Append to the computations. The shell executes them one after the other, in the order they were given.
        case compute(StepID, ShardComputation<Payload>)
        /// Append the answering of this request to the computations: a chunk is read while no uncommitted update is
        /// applied, and of the log only what is committed by then may be given.
        case transfer(Peer, TransferRequest)
        /// Tell the coordinator how the task ended (`task_done`).
        case acknowledge(number: Int, TaskOutcome)
        /// Tell the coordinator at once that the attempt is prepared: it commits nothing that a shard has not said.
        case prepared(StepID)
        /// Send the coordinator a report at once: the attempt has failed.
        case report
        /// Ask the coordinator for its plan: a request was of an attempt that no plan has announced.
        case askForPlan
    }
}

/// One rank's part of a step, as its `begin` announced it.
public struct ShardRankInput<Payload: Sendable>: Sendable {
    /// The micro-batches of the rank; may be empty.
    public var microBatches: Range<Int>
    /// The payload of its `begin`: the labels.
    public var payload: Payload

    public init(microBatches: Range<Int>, payload: Payload) {
        self.microBatches = microBatches
        self.payload = payload
    }
}

/// Work that the shard's shell executes strictly in the order in which it was asked for.
///
/// Each answers with one `.computed` or `.failed` event, except `task`, which answers with `.taskDone`, and `commit`,
/// `rollback` and `own`, which answer nothing.
public enum ShardComputation<Payload: Sendable>: Sendable {
    /// Sample the classes of the step and gather their rows; the copy is the undo record. `ranks` by rank.
    case sample(ranks: [ShardRankInput<Payload>], learningRate: Float, exchange: Exchange, head: HeadValues? = nil)
    /// Partial softmax of the features of some of the rank's micro-batches, or the sampled rows.
    case forward(rank: Int, microBatches: Range<Int>, payload: Payload)
    /// Row gradients from every rank's forward and backward payload, by rank. The forward payloads of a rank are of consecutive parts of
    /// its micro-batches.
    case backward(forward: [[Payload]], backward: [Payload])
    /// Sum the backbone gradients of the ranks; the result is the squared norms.
    case dense([Payload])
    /// Apply row and backbone gradients, then log the step's inputs; it is done when both are. `payload` is the squared
    /// norm of the whole backbone gradient.
    case update(payload: Payload, learningRate: Float)
    /// Read the backbone parameters for a rank. Always asked for while no uncommitted update is applied.
    case parameters(rank: Int)
    /// Put back everything that this attempt changed, and drop its intermediate results.
    case rollback
    /// Make the attempt's update final: drop the undo record.
    case commit
    /// Execute the shard's part of a boundary task; the answer is `.taskDone`. No uncommitted update is applied.
    case task(BoundaryTask)
    /// Own exactly these slices from now on: take over complete copies, drop the rest, and note it durably. A slice that
    /// the shard neither owns nor has a copy of starts in its initial state; it is replaced by the `restore` that follows,
    /// unless the run begins. Failure is fatal.
    case own(slices: SliceSet, denseSlices: SliceSet, mapVersion: Int)

    /// Whether the shell answers it with `.computed` or `.failed`.
    var hasResult: Bool {
        switch self {
        case .sample, .forward, .backward, .dense, .update, .parameters: true
        case .rollback, .commit, .task, .own: false
        }
    }
}

/// What a computation of the shard gave.
public enum ShardResult<Payload: Sendable>: Sendable {
    /// The answer to every rank's `begin`.
    case sample(Payload)
    case forward(rank: Int, Payload)
    case backward
    /// The answer to every rank's `dense`.
    case dense(Payload)
    /// The answer to every rank's `update`.
    case update(Payload)
    case parameters(rank: Int, Payload)
}

/// Which computation of the shard failed.
public enum ShardTask: Sendable, Hashable {
    case sample
    case forward(rank: Int)
    case backward
    case dense
    case update
    case parameters(rank: Int)
}
