extension ClusterStatus {
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
        /// What it owns: first and one past the last of each range of slices, classes and dense slices.
        public var slices: [[Int]]
        public var classes: [[Int]]
        public var denseSlices: [[Int]]
        /// Slices of others that it has a second, complete copy of; nil in a run with one copy of each.
        public var copies: Int?
        /// The step it has committed.
        public var committed: Int
        /// The last step that a power cut cannot take from it.
        public var durable: Int
        /// Why it cannot prepare a step ("the disk is full"), or empty.
        public var obstacle: String
        /// What is wrong although steps go on ("no snapshot can be written"), nil if nothing is.
        public var problem: String?
        /// Whether it hands its slices over and goes.
        public var isDraining: Bool
        /// Why it left, if it did and is not back; empty otherwise.
        public var goodbye: String
        /// Why it gets no slices although it is alive; nil if it may.
        public var leftOut: String?
        /// Length of its log, and the step of its oldest snapshot.
        public var logBytes: Int
        public var snapshotStep: Int?
        /// What its start cost: seconds to load snapshots and to replay the log, and steps replayed.
        public var loadSeconds: Double?
        public var replaySeconds: Double?
        public var replayedSteps: Int?
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
            durable = -1
            obstacle = ""
            isDraining = false
            goodbye = ""
            logBytes = 0
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
        /// Seconds of its last step: in the backbone, waiting for shards, of that for their update, in all.
        public var backboneSeconds: Double?
        public var exchangeSeconds: Double?
        public var updateSeconds: Double?
        public var stepSeconds: Double?
        public var residentBytes: Int
        /// Images that did not decode and were replaced.
        public var replacedImages: Int
        /// Samples that were left out when it opened its data.
        public var leftOutSamples: Int?
        /// Identities without an image that it can read, as far as known.
        public var leftOutIdentities: Int?
        /// Why it takes no part for now although it is alive; nil if it does, or may.
        public var leftOut: String?

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
}
