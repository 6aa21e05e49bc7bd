/// A line of the operator's log: the JSON of `coordinator events --json` is a list of these.
public struct ClusterEvent: Codable, Sendable, Equatable {
    /// Ascending; missing while it could not be written down, and over HTTP.
    public var id: Int?
    /// Seconds since 1970.
    public var time: Double
    /// `info`, `warning` or `error`.
    public var level: String
    public var text: String

    public init(id: Int? = nil, time: Double, level: String, text: String) {
        self.id = id
        self.time = time
        self.level = level
        self.text = text
    }
}

/// The classes of a run: the JSON of `coordinator classes list --json`.
public struct ClassStatus: Codable, Sendable {
    /// Operations that were applied.
    public var version: Int
    /// All classes, with added and retired ones.
    public var classes: Int
    /// Classes that are never sampled any more.
    public var retired: Int
    /// These: first and one past the last of each range.
    public var retiredClasses: [[Int]]
    /// Every operation that was ordered, in order.
    public var operations: [Operation]
    /// The last order that shards had to check before it was decided; missing if there was none.
    public var order: Order?

    public struct Order: Codable, Sendable {
        /// Ascending while a coordinator runs.
        public var number: Int
        public var text: String
        /// `checking`, `decided` or `refused`.
        public var state: String
        /// Why it was refused: what which shard has said.
        public var problem: String
        /// Shards that have yet to answer.
        public var waitsFor: [String]

        public init(number: Int, text: String) {
            self.number = number
            self.text = text
            state = "checking"
            problem = ""
            waitsFor = []
        }
    }

    public struct Operation: Codable, Sendable {
        /// For people: `add 100 classes`.
        public var text: String
        /// The step after which it was applied, nil while it waits.
        public var afterStep: Int?

        public init(text: String, afterStep: Int?) {
            self.text = text
            self.afterStep = afterStep
        }
    }

    /// - Parameter retired: first and one past the last of each range, ascending.
    public init(version: Int, classes: Int, retired: [[Int]], operations: [Operation], order: Order? = nil) {
        self.version = version
        self.classes = classes
        self.retired = retired.reduce(0) { $0 + ($1.count == 2 ? $1[1] - $1[0] : 0) }
        retiredClasses = retired
        self.order = order
        self.operations = operations
    }
}
