public import Cluster
public import StepProtocol
public import Succession

/// The version of the protocol that this module speaks. Peers of another one are refused.
public let wireProtocolVersion = 4

/// The first message on a connection: who connects, and what it expects to find.
public struct Hello: Sendable, Equatable {
    public var role: MemberRole
    public var protocolVersion = wireProtocolVersion
    /// The cluster to join. Empty: any; the answer tells which it is.
    public var clusterID = ""
    /// For people; need not be unique.
    public var name = ""
    /// Drawn at random when the process starts, so that a message of an earlier life is recognised.
    public var incarnation: UInt64
    /// Where workers and other shards reach a shard: a ZeroMQ endpoint. Empty for other roles.
    public var endpoint = ""
    /// Values the peer is configured with. 0: as the cluster is configured.
    public var embeddingSize = 0
    public var classCount = 0
    /// Hash of the configuration the peer holds. Empty: none.
    public var configurationHash = ""
    /// The instruction set of the peer's kernels, on which rounding depends.
    public var instructionSet = ""
    public var threads = 1
    public var processID = 0
    public var host = ""
    /// The member number the peer had before, -1 for none.
    public var previousNumber = -1
    /// What a shard's durable state is; nil for other roles.
    public var state: ShardState?
    /// Of a worker: whether it can write the results of a run, if the plan asks for it.
    public var writesResults = false
    /// The newest term that the process knows from a plan, and the coordinator process that this was of; 0 for none.
    public var term = 0
    public var coordinator: UInt64 = 0
    /// Of a worker: the incarnation of the process that it was before, which is dead; 0 for none.
    public var replaces: UInt64 = 0
    /// Of a worker with a network of its own: the job that it is a rank of.
    public var job: JobRank?
    /// Of a shard: what it keeps of the coordinator's record (`KeptRecord`, as JSON), at most 512 KiB; empty for nothing.
    public var record = ""
    /// Of a shard: what it has promised to coordinators; nil for nothing.
    public var vote: BallotVote?
    /// Of a shard: the name of what fails together with it (a host, a rack), at most 255 bytes; empty for the host of `endpoint`.
    public var zone = ""

    public init(role: MemberRole, incarnation: UInt64) {
        self.role = role
        self.incarnation = incarnation
    }
}

/// The answer to an accepted `Hello`.
public struct Welcome: Sendable, Equatable {
    public var protocolVersion = wireProtocolVersion
    public var clusterID: String
    /// The number the peer has from now on.
    public var member: MemberID
    /// The run's configuration, YAML, at most 1 MiB.
    public var configuration = ""
    public var configurationHash = ""
    /// How often the member sends a heartbeat, and after how long without one it is taken for dead.
    public var heartbeatMilliseconds = 1000
    /// The time between heartbeats, within what a loop can keep up with and a lease outlasts, whatever a coordinator says.
    public var heartbeatInterval: Duration { .milliseconds(min(max(heartbeatMilliseconds, 50), 60_000)) }
    public var leaseMilliseconds = 5000
    /// The last committed step of the run, -1 before the first.
    public var committed = -1
    /// The directory of the newest checkpoint, or of the one that the run begins from; empty if there is none.
    public var checkpoint = ""

    /// Of a shard: whether it answers questions about requests (`StepQuery`).
    public var answersQueries = false

    public init(clusterID: String, member: MemberID) {
        self.clusterID = clusterID
        self.member = member
    }
}
