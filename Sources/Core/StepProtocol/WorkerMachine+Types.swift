public import Cluster

extension WorkerMachine {
    /// What happens to a worker.
    public enum Event: Sendable {
        /// The coordinator's plan, in any order and any number of times.
        case plan(Plan)
        /// A shard's reply.
        case reply(MemberID, StepReply<Payload>)
        /// The shell has executed a computation.
        case computed(StepID, WorkerResult<Payload>)
        /// A computation refused its input.
        case failed(StepID, WorkerTask, code: RefusalCode, message: String)
        /// Bytes of large messages move between this worker and the shard: what is under way needs no repetition.
        case moving(MemberID)
        /// The shell has written the results for the attempt, or could not, and why.
        case resultsWritten(StepID, problem: String?)
        /// `nextDeadline` has passed.
        case tick
    }

    /// What the shell must do, in this order.
    public enum Action: Sendable {
        /// Send the request to the shard.
        case send(MemberID, StepRequest<Payload>)
        /// Ask the shard about a request that was sent: `query` says what, and nothing of the payload is sent. To a shard that does not
        /// know queries the request is sent again, whole, unless it still waits to be sent.
        case query(MemberID, StepRequest<Payload>)
        /// Tell the coordinator how the attempt ended; it answers with the current plan.
        case report(WorkerReport)
        /// Ask the coordinator for the current plan (`ready`).
        case ask
        /// Append to the computations. The shell executes them one after the other, in the order they were given.
        case compute(StepID, WorkerComputation<Payload>)
        /// Write the results of the run with the parameters that were installed last, those after step `committed`; answer with
        /// `resultsWritten`. Doing it again must do no harm.
        case writeResults(StepID, committed: Int)
        /// The attempt is over: drop its queued computations, except `install`, and its intermediate results.
        case abandon(StepID)
    }
}

/// How an attempt ended for a worker.
public enum WorkerReport: Sendable, Hashable {
    /// Every shard is prepared.
    case done(StepResult)
    /// It cannot go on. `unresponsive`: a shard does not answer; the worker keeps trying.
    /// `by`: the shard that has refused the rank's part; nil if the worker could not compute it, or was not answered.
    case failed(StepID, code: RefusalCode, message: String, by: MemberID? = nil)
    /// The results of the run are written, or could not be, and why.
    case results(StepID, problem: String?)
}

/// Work that the worker's shell executes strictly in the order in which it was asked for.
///
/// Each answers with one `.computed` or `.failed` event, except `install`, which answers only when it fails. Arrays of
/// payloads are by shard number.
public enum WorkerComputation<Payload: Sendable>: Sendable {
    /// The labels of the rank's micro-batches of the step.
    case labels(microBatches: Range<Int>)
    /// Load the images and compute the backbone forward.
    case embed(microBatches: Range<Int>)
    /// Loss and gradients from every shard's forward reply.
    case softmax(exchange: Exchange, replies: [Payload])
    /// Backbone backward.
    case backpropagate
    /// Squared norm of the whole backbone gradient, from every shard's dense reply.
    case norm(replies: [Payload])
    /// Replace the backbone parameters by those after step `committed` (`after` is nil) or by the tentative ones of the
    /// attempt `after`. Tentative ones are replaced by another `install` if the attempt is not committed.
    case install(committed: Int, payloads: [Payload], after: StepID?)
}

/// What a computation of the worker gave.
public enum WorkerResult<Payload: Sendable>: Sendable {
    /// The `begin` payload, the same for every shard.
    case labels(Payload)
    /// The `forward` payload of the features exchange, the same for every shard.
    case embed(Payload)
    /// The `backward` payloads by shard, and the loss sum of each micro-batch of the rank, in order.
    case softmax([Payload], lossSums: [Double])
    /// The `dense` payloads by shard.
    case backpropagate([Payload])
    /// The `update` payload, the same for every shard, and the norm it stands for.
    case norm(Payload, gradientNorm: Double)
}

/// Which computation of the worker failed.
public enum WorkerTask: Sendable, Hashable {
    case labels, embed, softmax, backpropagate, norm, install
}

/// How long a worker waits.
public struct WorkerTiming: Sendable, Hashable {
    /// A request without an answer is asked about, and a report sent again, after this.
    public var retryInterval: Duration
    /// A request without an answer is reported to the coordinator after this, and again after every further one.
    public var requestDeadline: Duration
    /// A worker to which nothing happens asks for the plan after this; doubled each time up to `maximumAskInterval`.
    public var askInterval: Duration
    public var maximumAskInterval: Duration

    public init(
        retryInterval: Duration = .seconds(2), requestDeadline: Duration = .seconds(120),
        askInterval: Duration = .milliseconds(500), maximumAskInterval: Duration = .seconds(5)
    ) {
        self.retryInterval = retryInterval
        self.requestDeadline = requestDeadline
        self.askInterval = askInterval
        self.maximumAskInterval = maximumAskInterval
    }
}
