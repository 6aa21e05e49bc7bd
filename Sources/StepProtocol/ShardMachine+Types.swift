extension ShardMachine {
    /// What happens to a shard.
    public enum Event: Sendable {
        /// A worker sent a request over the connection `Peer`.
        case request(Peer, StepRequest<Payload>)
        /// The shell has executed a computation.
        case computed(StepID, ShardResult<Payload>)
        /// A computation refused its input and changed nothing.
        case failed(StepID, ShardTask, code: RefusalCode, message: String)
        /// The coordinator says that this step is committed (a heartbeat's answer).
        case committed(Int)
        /// The coordinator's plan: slice map version, committed step and the newest step or attempt.
        case plan(Plan)
        /// `nextDeadline` has passed.
        case tick
    }

    /// What the shell must do, in this order.
    public enum Action: Sendable {
        /// Send the reply to the connection that asked.
        case reply(Peer, StepReply<Payload>)
        /// Append to the computations. The shell executes them one after the other, in the order they were given.
        case compute(StepID, ShardComputation<Payload>)
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
/// Each answers with one `.computed` or `.failed` event, except `commit` and `rollback`, which cannot fail and answer
/// nothing.
public enum ShardComputation<Payload: Sendable>: Sendable {
    /// Sample the classes of the step and gather their rows; the copy is the undo record. `ranks` by rank.
    case sample(ranks: [ShardRankInput<Payload>], learningRate: Float, exchange: Exchange)
    /// Partial softmax of the rank's features, or the sampled rows.
    case forward(rank: Int, payload: Payload)
    /// Row gradients from every rank's forward and backward payload, by rank.
    case backward(forward: [Payload], backward: [Payload])
    /// Sum the backbone gradients of the ranks; the result is the squared norms.
    case dense([Payload])
    /// Apply row and backbone gradients. `payload` is the squared norm of the whole backbone gradient.
    case update(payload: Payload, learningRate: Float)
    /// Read the backbone parameters for a rank. Always asked for while no uncommitted update is applied.
    case parameters(rank: Int)
    /// Put back everything that this attempt changed, and drop its intermediate results.
    case rollback
    /// Make the attempt's update final: drop the undo record.
    case commit
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
