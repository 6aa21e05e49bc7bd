public import Cluster

/// A worker's report that every shard is prepared for a step.
public struct StepResult: Sendable, Hashable, Codable {
    public var id: StepID
    /// The rank's micro-batches.
    public var microBatches: Range<Int>
    /// Sum of the losses of each of these micro-batches, in their order. The coordinator adds them in order of the
    /// micro-batch, so that the loss it reports has the same bits for any number of workers.
    public var lossSums: [Double]
    /// Norm of the whole backbone gradient before clipping.
    public var gradientNorm: Double
    /// Seconds spent in the backbone, waiting for exchanges, and for the rest of the step.
    public var backboneSeconds: Double
    public var exchangeSeconds: Double
    public var totalSeconds: Double
    /// The part of the waiting that was for the shards to update and to send what is new.
    public var updateSeconds: Double
    /// By index in the plan's shards: seconds from a request's first sending to its answer, summed over the phases.
    public var shardSeconds: [Double]
    /// The rate that a job has chosen; nil: the plan's.
    public var learningRate: Float?

    public init(
        id: StepID, microBatches: Range<Int>, lossSums: [Double], gradientNorm: Double, backboneSeconds: Double,
        exchangeSeconds: Double, totalSeconds: Double, updateSeconds: Double = 0, shardSeconds: [Double] = [],
        learningRate: Float? = nil
    ) {
        self.learningRate = learningRate
        self.id = id
        self.microBatches = microBatches
        self.lossSums = lossSums
        self.gradientNorm = gradientNorm
        self.backboneSeconds = backboneSeconds
        self.exchangeSeconds = exchangeSeconds
        self.totalSeconds = totalSeconds
        self.updateSeconds = updateSeconds
        self.shardSeconds = shardSeconds
    }
}
