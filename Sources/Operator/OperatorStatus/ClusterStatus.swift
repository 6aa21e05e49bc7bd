/// What the coordinator says of a running cluster: the JSON of `coordinator status --json`.
public struct ClusterStatus: Codable, Sendable {
    public var clusterID: String
    /// `waiting`, `training`, `paused`, `stopping`, `finishing`, `finished` or `failed`.
    public var state: String
    /// Why it waits or failed; empty otherwise.
    public var reason: String
    /// What keeps the coordinator itself from going on ("the disk is full"); empty otherwise.
    public var obstacle: String
    /// What is wrong with the coordinator although the run goes on ("metrics.jsonl cannot be written"), nil if nothing is.
    public var problem: String?
    /// The last committed step, -1 before the first.
    public var committed: Int
    /// The newest step that a power cut cannot take from any shard, -1 before the first.
    public var safe: Int
    /// Steps of the run; 0: until its job, or an operator, ends it.
    public var totalSteps: Int
    /// Starts of the coordinator and goings back, counted.
    public var term: Int
    /// Attempts of the step in progress.
    public var attempt: Int
    /// Version of the slice map, 0 before the first.
    public var mapVersion: Int
    /// Class operations that were applied.
    public var classVersion: Int
    /// Class operations that wait for a step boundary, for people.
    public var pendingOperations: [String]
    public var exchange: String
    public var exchangeReason: String
    /// Classes, with those that were added and retired.
    public var classes: Int
    public var embeddingSize: Int
    public var batchSize: Int
    /// `sgd` or `adamw`; nil where an earlier version does not say.
    public var optimizer: String?
    /// `exact` or `logged`; nil where an earlier version does not say.
    public var determinism: String?
    /// Mean loss of the last committed step, nil before the first and for a skipped one.
    public var loss: Double?
    /// That of the last committed step.
    public var learningRate: Float?
    /// That of the step in progress or to come.
    public var nextLearningRate: Float?
    /// What operators have set it to, oldest first.
    public var learningRateChanges: [LearningRate]
    /// The values of the head in the step in progress or to come; nil where an earlier version does not say.
    public var head: Head?
    /// Whether these may be others in another step: the configuration has stages, or an operator has set some.
    public var headVaries: Bool?
    /// What operators have set of the head, oldest first.
    public var headChanges: [HeadChange]?
    /// Those of them that hold now, or wait for a step that has not begun.
    public var headInForce: [HeadChange]?
    public var gradientNorm: Double?
    /// Samples per second over the last committed steps; nil when the run is over.
    public var samplesPerSecond: Double?
    /// Seconds until the last step at that speed; nil when the run is over.
    public var secondsLeft: Double?
    /// Seconds since the last step was committed, or since the coordinator was started.
    public var stepAge: Double
    /// Whether speed and time left are of the past: no step was committed for much longer than one takes.
    public var isStale: Bool
    /// The job that trains, in a run with `data.kind: external`; nil while there is none.
    public var job: Job?
    /// Second copies of slices; nil in a run with one copy of each.
    public var copies: Copies?
    /// The standby of the coordinator; nil if it has none.
    public var standby: Standby?
    /// The last figures of every evaluation set.
    public var evaluations: [Evaluation]
    /// What the shards do at this step boundary, also while some cannot; nil while there is nothing to do.
    public var task: Task?
    /// Slices on their way to another shard.
    public var moves: [Move]
    /// Oldest first.
    public var checkpoints: [Checkpoint]
    /// Why the last checkpoint could not be written; empty if it could.
    public var checkpointProblem: String
    /// Why the results could not be written at the end of the run; empty if nothing went wrong.
    public var resultsProblem: String
    /// Evaluations beside the training that were due and were not made, since this coordinator started.
    public var missedEvaluations: Int
    /// Steps that were skipped because a value was not finite.
    public var skippedSteps: Int
    public var lastSkipped: SkippedStep?
    /// The member that the others wait for, and how long; nil if there is none.
    public var straggler: String?
    /// For whom the running attempt waits, at what and for how long; nil if for nobody in particular.
    public var waitingFor: String?
    /// Messages that the coordinator refused, by code.
    public var refused: [String: Int]
    public var shards: [Shard]
    public var workers: [Worker]

    public init(clusterID: String, state: String) {
        self.clusterID = clusterID
        self.state = state
        reason = ""
        obstacle = ""
        committed = -1
        safe = -1
        totalSteps = 0
        term = 0
        attempt = 0
        mapVersion = 0
        classVersion = 0
        pendingOperations = []
        exchange = ""
        exchangeReason = ""
        classes = 0
        embeddingSize = 0
        batchSize = 0
        learningRateChanges = []
        stepAge = 0
        isStale = false
        evaluations = []
        moves = []
        checkpoints = []
        checkpointProblem = ""
        resultsProblem = ""
        missedEvaluations = 0
        skippedSteps = 0
        refused = [:]
        shards = []
        workers = []
    }
}
