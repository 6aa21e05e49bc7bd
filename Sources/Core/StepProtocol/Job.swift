/// What a worker with a network of its own says of the job that it is a rank of.
///
/// All ranks of one start of a job say the same but for `rank`. They say it again, unchanged, whenever they say hello.
public struct JobRank: Sendable, Hashable {
    /// Drawn anew for every start of the job; not 0.
    public var id: UInt64
    public var rank: Int
    public var worldSize: Int
    /// The last step in the state that the job begins with, -1 for a job that begins from nothing.
    public var step: Int
    /// The past (`Past.name`) in which that state was saved; 0 if it is not known.
    public var past: UInt64

    public init(id: UInt64, rank: Int, worldSize: Int, step: Int = -1, past: UInt64 = 0) {
        self.id = id
        self.rank = rank
        self.worldSize = worldSize
        self.step = step
        self.past = past
    }

    /// The same for every rank of the job.
    var start: Start { Start(id: id, worldSize: worldSize, step: step, past: past) }

    struct Start: Sendable, Hashable {
        var id: UInt64
        var worldSize: Int
        var step: Int
        var past: UInt64
    }

    /// A job as people read it in logs.
    static func name(_ id: UInt64) -> String { "job \(digits(id))" }

    static func digits(_ id: UInt64) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: max(0, 16 - digits.count)) + digits
    }
}

/// The job that trains, as a plan says it.
public struct PlanJob: Sendable, Hashable {
    public var id: UInt64
    public var worldSize: Int
    /// Whether the ranks choose the learning rate, and not the plan.
    public var setsRate: Bool

    public init(id: UInt64, worldSize: Int, setsRate: Bool) {
        self.id = id
        self.worldSize = worldSize
        self.setsRate = setsRate
    }
}

/// What a coordinator must not forget of jobs.
public struct JobHistory: Sendable, Hashable, Codable {
    /// The job to which the cluster went back last; nil: none, or it has ended.
    public var current: Current?
    /// Jobs that have ended, the latest last: none of their ranks may come back and take over.
    public var ended: [UInt64] = []

    public struct Current: Sendable, Hashable, Codable {
        public var id: UInt64
        /// The processes, by rank.
        public var incarnations: [UInt64]
        /// The step that the cluster went back to for it.
        public var since: Int

        public init(id: UInt64, incarnations: [UInt64], since: Int) {
            self.id = id
            self.incarnations = incarnations
            self.since = since
        }
    }

    public init() {}

    /// How many that have ended are remembered: a process of one would have to sleep through as many starts to be let in again.
    static let endedLimit = 1024

    /// The history in which this job has ended, whether it trained or never began.
    func ending(_ id: UInt64) -> JobHistory {
        var history = self
        history.ended = (ended + [id]).suffix(Self.endedLimit)
        if current?.id == id { history.current = nil }
        return history
    }
}
