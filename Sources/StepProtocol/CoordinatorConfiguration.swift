/// What a coordinator must know of a run.
public struct CoordinatorConfiguration: Sendable {
    /// Samples B in the global batch: the reported loss is the mean over them.
    public var batchSize: Int
    /// Micro-batches M that the batch is cut into.
    public var microBatchCount: Int
    /// Slices of the class centers, divided among the shards.
    public var sliceCount: Int
    /// Slices of the backbone's parameters, divided among the shards.
    public var denseSliceCount: Int
    /// Shards that the slices are divided among; the run starts when all are there.
    public var expectedShards: Int
    /// Workers that must be there before the first step. Later one is enough.
    public var minimumWorkers: Int
    /// Workers that are let in: a plan that has no room for them could not be sent.
    public var maximumWorkers: Int
    /// Steps to compute.
    public var totalSteps: Int
    public var exchange: Exchange
    /// A member that was not heard of for this long is taken for dead.
    public var lease: Duration
    /// Attempts that may fail at one step because a shard does not answer a worker, before the run fails.
    public var unresponsiveLimit: Int
    /// Pause before such an attempt is repeated; doubled each time.
    public var unresponsiveBackoff: Duration
    /// Losses that the status keeps.
    public var lossHistory: Int
    /// Learning rate of a step.
    public var learningRate: @Sendable (Int) -> Float

    public init(
        batchSize: Int, microBatchCount: Int, sliceCount: Int, denseSliceCount: Int, expectedShards: Int,
        minimumWorkers: Int, maximumWorkers: Int = Plan.memberLimit, totalSteps: Int, exchange: Exchange,
        lease: Duration = .seconds(10),
        unresponsiveLimit: Int = 5, unresponsiveBackoff: Duration = .seconds(1), lossHistory: Int = 200,
        learningRate: @escaping @Sendable (Int) -> Float
    ) {
        self.batchSize = batchSize
        self.microBatchCount = microBatchCount
        self.sliceCount = sliceCount
        self.denseSliceCount = denseSliceCount
        self.expectedShards = expectedShards
        self.minimumWorkers = minimumWorkers
        self.maximumWorkers = maximumWorkers
        self.totalSteps = totalSteps
        self.exchange = exchange
        self.lease = lease
        self.unresponsiveLimit = unresponsiveLimit
        self.unresponsiveBackoff = unresponsiveBackoff
        self.lossHistory = lossHistory
        self.learningRate = learningRate
    }
}
