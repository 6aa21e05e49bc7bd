public import Cluster

/// What a coordinator must know of a run.
public struct CoordinatorConfiguration: Sendable {
    /// What happens to a step whose gradient is not finite.
    public enum NotFinitePolicy: Sendable, Hashable {
        /// The step changes nothing and training goes on; the run fails after more than `limit` such steps in a row.
        case skip(limit: Int)
        /// The run fails.
        case stop
    }

    /// A checkpoint that a new run starts from.
    public struct Origin: Sendable, Hashable {
        public var directory: String
        public var step: Int
        public var classVersion: Int

        public init(directory: String, step: Int, classVersion: Int) {
            self.directory = directory
            self.step = step
            self.classVersion = classVersion
        }
    }

    /// Samples B in the global batch: the reported loss is the mean over them.
    public var batchSize: Int
    /// Micro-batches M that the batch is cut into.
    public var microBatchCount: Int
    /// Slices of the class centers, divided among the shards.
    public var sliceCount: Int
    /// Slices of the backbone's parameters, divided among the shards.
    public var denseSliceCount: Int
    /// Shards that must be there before the slices are divided among them for the first time.
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
    /// Attempts of one step that a worker may give up because a shard does not answer it, while others do not complain: then it is
    /// left out.
    public var unresponsiveLimit: Int
    /// Pause before such an attempt or a task that failed is repeated; doubled for each attempt, up to a minute.
    public var unresponsiveBackoff: Duration
    /// A rank of which nothing was heard for this long, while others wait for it, is left out for a while if others can go on.
    public var stuckAfter = Duration.seconds(30)
    /// Losses that the status keeps.
    public var lossHistory: Int
    /// Where checkpoints are written, each in a directory of its own; empty: nowhere.
    public var checkpointDirectory = ""
    /// Steps between checkpoints; 0 for none by steps.
    public var checkpointEverySteps = 0
    /// Time between checkpoints; nil for none by time.
    public var checkpointEvery: Duration?
    /// Older checkpoints than this many are removed; 0 keeps all.
    public var checkpointsKept = 0
    /// Whether slices move to a shard that joins by themselves.
    public var rebalancesAutomatically = true
    public var onNotFinite = NotFinitePolicy.stop
    /// Slices on their way at the same time.
    public var movesAtOnce = 4
    /// Copies of every slice: 1, or 2 with a second one at another shard.
    public var copies = 1
    /// How long after its lease an owner is taken for lost, so that its slices go to those who keep their copies.
    public var promoteAfter = Duration.seconds(30)
    /// The run waits while any slice has fewer copies than this.
    public var minimumCopies = 1
    /// The run pauses once this many steps are committed; 0: it does not.
    public var pauseAfter = 0
    public var origin: Origin?
    /// What the run leaves to a job from outside; nil: workers train on samples and a network of the run.
    public var job: JobPolicy?
    /// Whether a run ends with results that a worker writes: the backbone, its final evaluation.
    public var writesResults = false
    /// Steps between two evaluations that rank 0 makes beside the training; 0: none.
    public var evaluationEvery = 0
    /// Whether micro-batches are divided among workers by the speed that they have shown, and not equally.
    public var sharesAreMeasured = false
    /// Learning rate of a step.
    public var learningRate: @Sendable (Int) -> Float
    /// Values of the head in a step.
    public var head: @Sendable (Int) -> HeadValues

    public init(
        batchSize: Int, microBatchCount: Int, sliceCount: Int, denseSliceCount: Int, expectedShards: Int,
        minimumWorkers: Int, maximumWorkers: Int = Plan.memberLimit, totalSteps: Int, exchange: Exchange,
        lease: Duration = .seconds(10),
        unresponsiveLimit: Int = 2, unresponsiveBackoff: Duration = .seconds(1), lossHistory: Int = 200,
        learningRate: @escaping @Sendable (Int) -> Float, head: @escaping @Sendable (Int) -> HeadValues
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
        self.head = head
    }
}
