public import Cluster

/// The requests a worker makes of every shard during a step, in this order (Sources/Wire/PROTOCOL.md).
public enum StepPhase: UInt8, Sendable, Hashable, Codable, CaseIterable, Comparable {
    /// Read the backbone parameters of the last committed step. Only when the worker does not hold them.
    case parameters = 0
    /// Announce the labels of the rank's micro-batches. Answered when every rank has begun and the shard has sampled.
    case begin = 1
    /// `features`: partial softmax of the rank's features. `rows`: the sampled rows.
    case forward = 2
    /// `features`: the log-normalizers. `rows`: the row gradients. Acknowledged at once, applied when every rank has sent it.
    case backward = 3
    /// The backbone gradient. Answered with its squared norms when every rank has sent it.
    case dense = 4
    /// The squared norm of the whole backbone gradient. Answered with the new parameters: the shard is *prepared*.
    case update = 5

    public static func < (a: StepPhase, b: StepPhase) -> Bool { a.rawValue < b.rawValue }
}

/// A question about a request that was sent before. It carries no payload: payloads are large, and may still be on their way.
public enum StepQuery: UInt8, Sendable, Hashable, Codable {
    /// None: this is the request itself.
    case none = 0
    /// Whether the request is there.
    case isThere = 1
    /// The answer was sent and did not come: send it again.
    case answer = 2
}

/// A request of the step protocol. The payload is opaque here: tensors on the wire, numbers in the simulation.
public struct StepRequest<Payload: Sendable>: Sendable {
    public var id: StepID
    public var rank: Int
    public var worldSize: Int
    public var mapVersion: Int
    public var phase: StepPhase
    /// The last step that the sender knows to be committed.
    public var committed: Int
    /// Which attempt of that step the sender goes on from; nil if it does not say.
    public var committedID: StepID?
    public var exchange: Exchange
    public var learningRate: Float
    /// The micro-batches of the rank.
    public var microBatches: Range<Int>
    public var payload: Payload
    /// Of `forward` in a job: the micro-batches of the rank whose features these are, if they come in parts; nil: all of them.
    public var part: Range<Int>?
    /// What is asked instead of sending the payload again.
    public var query = StepQuery.none

    public init(
        id: StepID, rank: Int, worldSize: Int, mapVersion: Int, phase: StepPhase, committed: Int, exchange: Exchange,
        learningRate: Float, microBatches: Range<Int>, payload: Payload, committedID: StepID? = nil
    ) {
        self.id = id
        self.rank = rank
        self.worldSize = worldSize
        self.mapVersion = mapVersion
        self.phase = phase
        self.committed = committed
        self.exchange = exchange
        self.learningRate = learningRate
        self.microBatches = microBatches
        self.payload = payload
        self.committedID = committedID
    }
}

/// A shard's answer to a `StepRequest`; `id`, `rank`, `phase` and `part` repeat the request's.
public struct StepReply<Payload: Sendable>: Sendable {
    public var id: StepID
    public var rank: Int
    public var phase: StepPhase
    public var part: Range<Int>?
    public var outcome: Outcome

    public enum Outcome: Sendable {
        case done(Payload)
        /// The request belongs to a step or attempt that the shard has left behind. Nothing was applied.
        case stale(current: StepID, committed: Int)
        /// The request cannot be answered yet (an earlier phase was not seen); send the earlier phases again.
        case notReady(current: StepID, committed: Int)
        /// The request is wrong and will stay so.
        case refused(code: RefusalCode, message: String)
        /// To a query: the request is there, and its answer comes when it is computed.
        case received
        /// To a query: the request is not there.
        case missing
        /// To a query: the answer was sent. Over the same connection it comes before this one, or not at all.
        case answered
    }

    public init(id: StepID, rank: Int, phase: StepPhase, part: Range<Int>? = nil, outcome: Outcome) {
        self.id = id
        self.rank = rank
        self.phase = phase
        self.part = part
        self.outcome = outcome
    }
}
