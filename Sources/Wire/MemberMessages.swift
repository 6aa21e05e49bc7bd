public import Cluster
public import StepProtocol
public import Succession

/// A member is alive; sent at the interval that its `Welcome` says.
public struct Heartbeat: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    /// Figures for the operator, by name; at most 256.
    public var statistics: [String: Double]
    /// Texts for the operator, by name; at most 256.
    public var notes: [String: String]
    /// Of a shard: how far it is; nil for other roles.
    public var report: ShardReport?
    /// Of a worker: what it does; nil for other roles, and from one that does not say.
    public var activity: WorkerActivity?
    /// As in `Hello`.
    public var term: Int
    public var coordinator: UInt64
    /// Of a shard: the id of the copy of the coordinator's record that it keeps; 0 for none.
    public var record: UInt64
    /// As in `Hello`.
    public var vote: BallotVote?

    public init(
        member: MemberID, incarnation: UInt64, statistics: [String: Double] = [:], notes: [String: String] = [:],
        report: ShardReport? = nil, activity: WorkerActivity? = nil, term: Int = 0, coordinator: UInt64 = 0,
        record: UInt64 = 0, vote: BallotVote? = nil
    ) {
        self.vote = vote
        self.record = record
        self.member = member
        self.incarnation = incarnation
        self.statistics = statistics
        self.notes = notes
        self.report = report
        self.term = term
        self.coordinator = coordinator
        self.activity = activity
    }
}

/// A shard has prepared an attempt. Not answered: its heartbeats say so again.
public struct StepPrepared: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    public var id: StepID

    public init(member: MemberID, incarnation: UInt64, id: StepID) {
        self.member = member
        self.incarnation = incarnation
        self.id = id
    }
}

/// The coordinator's answer to a `Heartbeat`.
public struct HeartbeatReply: Sendable, Equatable {
    /// The last committed step, -1 before the first.
    public var committed: Int
    /// The map version of the current plan.
    public var mapVersion: Int
    /// What the cluster does, for people.
    public var state: String
    /// For a shard that keeps another copy of the record, or none; nil if there is nothing new.
    public var record: RecordCopy?
    /// For a shard: what a coordinator that lacks its standby asks.
    public var question: BallotQuestion?

    public init(
        committed: Int, mapVersion: Int, state: String, record: RecordCopy? = nil, question: BallotQuestion? = nil
    ) {
        self.question = question
        self.record = record
        self.committed = committed
        self.mapVersion = mapVersion
        self.state = state
    }
}

/// A worker asks for its plan. May be repeated.
public struct Ready: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    /// The plan that the worker holds, if any.
    public var held: StepID?

    public init(member: MemberID, incarnation: UInt64, held: StepID? = nil) {
        self.member = member
        self.incarnation = incarnation
        self.held = held
    }
}

/// A worker reports that every shard is prepared for a step.
public struct StepDone: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    public var result: StepResult

    public init(member: MemberID, incarnation: UInt64, result: StepResult) {
        self.member = member
        self.incarnation = incarnation
        self.result = result
    }
}

/// A worker reports that a step cannot be done.
public struct StepFailed: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    public var id: StepID
    public var code: RefusalCode
    public var message: String
    /// The shard that has refused the rank's part; nil if none has.
    public var refusedBy: MemberID?

    public init(
        member: MemberID, incarnation: UInt64, id: StepID, code: RefusalCode, message: String,
        refusedBy: MemberID? = nil
    ) {
        self.refusedBy = refusedBy
        self.member = member
        self.incarnation = incarnation
        self.id = id
        self.code = code
        self.message = message
    }
}

/// Figures of an evaluation during training; answered with `acknowledged`.
public struct Evaluation: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    /// The step whose parameters were evaluated.
    public var step: Int
    /// Name of the evaluation set.
    public var name: String
    /// Figures by name; at most 256.
    public var values: [String: Double]
    /// Why there is no evaluation after this step; empty if there is one.
    public var problem: String

    public init(
        member: MemberID, incarnation: UInt64, step: Int, name: String, values: [String: Double], problem: String = ""
    ) {
        self.member = member
        self.incarnation = incarnation
        self.step = step
        self.name = name
        self.values = values
        self.problem = problem
    }
}

/// A worker has written the results of the run, or could not; answered with the current plan. May be repeated.
public struct ResultsDone: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    /// That of the plan that asked for them.
    public var id: StepID
    /// Why they could not be written; empty if they are.
    public var problem: String
    /// Figures of the parameters after the last step, by the name of the evaluation set; at most 256.
    public var evaluations: [String: [String: Double]]

    public init(
        member: MemberID, incarnation: UInt64, id: StepID, problem: String = "",
        evaluations: [String: [String: Double]] = [:]
    ) {
        self.member = member
        self.incarnation = incarnation
        self.id = id
        self.problem = problem
        self.evaluations = evaluations
    }
}

/// A shard's part of a boundary task has ended; answered with the current plan. May be repeated.
public struct TaskDone: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    /// The number of the task.
    public var number: Int
    /// The detail of `done` has at most 1 MiB.
    public var outcome: TaskOutcome

    public init(member: MemberID, incarnation: UInt64, number: Int, outcome: TaskOutcome) {
        self.member = member
        self.incarnation = incarnation
        self.number = number
        self.outcome = outcome
    }
}

/// A member goes on purpose; answered with `acknowledged`.
public struct Leave: Sendable, Equatable {
    public var member: MemberID
    public var incarnation: UInt64
    /// Why, for people.
    public var reason: String
    /// What its process ends with, 0 to 255.
    public var exitCode: Int

    public init(member: MemberID, incarnation: UInt64, reason: String = "", exitCode: Int = 0) {
        self.member = member
        self.incarnation = incarnation
        self.reason = reason
        self.exitCode = exitCode
    }
}
