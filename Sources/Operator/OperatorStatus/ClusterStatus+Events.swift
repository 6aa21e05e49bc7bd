extension ClusterStatus {
    /// Figures of one evaluation set.
    public struct Evaluation: Codable, Sendable, Equatable {
        public var name: String
        public var step: Int
        public var values: [String: Double]

        public init(name: String, step: Int, values: [String: Double]) {
            self.name = name
            self.step = step
            self.values = values
        }
    }

    /// Something that every shard does at a step boundary.
    public struct Task: Codable, Sendable {
        public var number: Int
        /// `skip`, `checkpoint`, `restore`, `check`, `classes` or `handOver`.
        public var kind: String
        public var step: Int
        /// The shards that it still waits for.
        public var pending: [String]
        /// Why shards could not do it, by shard.
        public var problems: [String: String] = [:]

        public init(number: Int, kind: String, step: Int, pending: [String]) {
            self.number = number
            self.kind = kind
            self.step = step
            self.pending = pending
        }
    }

    /// A slice on its way.
    public struct Move: Codable, Sendable {
        /// `slice 3` or `dense slice 1`.
        public var slice: String
        public var from: String
        public var to: String
        /// The step up to which the copy is complete, nil while it is being copied.
        public var received: Int?

        public init(slice: String, from: String, to: String, received: Int? = nil) {
            self.slice = slice
            self.from = from
            self.to = to
            self.received = received
        }
    }

    /// A checkpoint of the run.
    public struct Checkpoint: Codable, Sendable {
        public var step: Int
        public var directory: String
        public var classVersion: Int

        public init(step: Int, directory: String, classVersion: Int) {
            self.step = step
            self.directory = directory
            self.classVersion = classVersion
        }
    }

    /// A learning rate that an operator has set.
    public struct LearningRate: Codable, Sendable {
        /// The first step that has it; nil while it waits for one that has not begun.
        public var fromStep: Int?
        /// `schedule`, a factor of the schedule as `*0.1`, or the rate itself.
        public var rule: String

        public init(fromStep: Int?, rule: String) {
            self.fromStep = fromStep
            self.rule = rule
        }
    }

    /// A step that changed nothing, and why.
    public struct SkippedStep: Codable, Sendable {
        public var step: Int
        /// Names the worker or shard, and the layer.
        public var message: String

        public init(step: Int, message: String) {
            self.step = step
            self.message = message
        }
    }
}
