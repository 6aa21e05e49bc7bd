/// What the coordinator says of a running cluster: the JSON of `coordinator status --json`.
public struct ClusterStatus: Codable, Sendable {
    public var clusterID: String
    /// `waiting`, `training`, `paused`, `stopping`, `finished` or `failed`.
    public var state: String
    /// Why it waits or failed; empty otherwise.
    public var reason: String
    /// The last committed step, -1 before the first.
    public var committed: Int
    public var totalSteps: Int
    /// Attempts of the step in progress.
    public var attempt: Int
    public var exchange: String
    public var exchangeReason: String
    public var classes: Int
    public var embeddingSize: Int
    public var batchSize: Int
    /// Mean loss of the last committed step, nil before the first.
    public var loss: Double?
    public var learningRate: Float?
    public var gradientNorm: Double?
    /// Samples per second over the last committed steps.
    public var samplesPerSecond: Double?
    /// Seconds until the last step at that speed.
    public var secondsLeft: Double?
    /// The last figures of every evaluation set.
    public var evaluations: [Evaluation]
    /// Messages that the coordinator refused, by code.
    public var refused: [String: Int]
    public var shards: [Shard]
    public var workers: [Worker]

    /// Figures of one evaluation set.
    public struct Evaluation: Codable, Sendable {
        public var name: String
        public var step: Int
        public var values: [String: Double]

        public init(name: String, step: Int, values: [String: Double]) {
            self.name = name
            self.step = step
            self.values = values
        }
    }

    /// A shard server.
    public struct Shard: Codable, Sendable {
        public var name: String
        public var endpoint: String
        public var host: String
        public var processID: Int
        public var alive: Bool
        public var late: Bool
        /// Seconds since it was last heard of.
        public var age: Double
        /// First and one past the last of its slices, classes and dense slices.
        public var slices: [Int]
        public var classes: [Int]
        public var denseSlices: [Int]
        /// The step it has committed.
        public var committed: Int
        public var memoryBytes: Int
        public var residentBytes: Int
        /// Requests that it refused.
        public var refused: Int

        public init(name: String, endpoint: String) {
            self.name = name
            self.endpoint = endpoint
            host = ""
            processID = 0
            alive = false
            late = false
            age = 0
            slices = []
            classes = []
            denseSlices = []
            committed = -1
            memoryBytes = 0
            residentBytes = 0
            refused = 0
        }
    }

    /// A worker.
    public struct Worker: Codable, Sendable {
        public var name: String
        public var host: String
        public var processID: Int
        public var threads: Int
        public var alive: Bool
        public var late: Bool
        public var age: Double
        /// Its rank in the running attempt, nil outside the world.
        public var rank: Int?
        public var microBatches: [Int]
        /// Seconds of its last step: in the backbone, waiting for exchanges, in all.
        public var backboneSeconds: Double?
        public var exchangeSeconds: Double?
        public var stepSeconds: Double?
        public var residentBytes: Int
        /// Images that did not decode and were replaced.
        public var replacedImages: Int

        public init(name: String) {
            self.name = name
            host = ""
            processID = 0
            threads = 1
            alive = false
            late = false
            age = 0
            rank = nil
            microBatches = []
            residentBytes = 0
            replacedImages = 0
        }
    }

    public init(clusterID: String, state: String) {
        self.clusterID = clusterID
        self.state = state
        reason = ""
        committed = -1
        totalSteps = 0
        attempt = 0
        exchange = ""
        exchangeReason = ""
        classes = 0
        embeddingSize = 0
        batchSize = 0
        evaluations = []
        refused = [:]
        shards = []
        workers = []
    }
}
