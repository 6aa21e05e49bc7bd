public import Cluster

/// The coordinator's side of the step protocol: who is alive, who owns and computes what, and which step is committed.
///
/// A value without I/O or clock. The shell feeds it events and executes its actions; what must survive a crash is in `record`,
/// and every change of it is an action that comes before what follows from it. The rules are in docs/step-protocol.md.
public struct CoordinatorMachine: Sendable {
    /// What is known of a member besides the record.
    struct Live: Sendable {
        /// The connection it last used; nil if it was not heard of since the coordinator started.
        var peer: PeerID?
        var lastHeard: Duration
        /// Of a shard: false while its lease has run out. Workers are forgotten instead.
        var isAlive = true
        /// Of a shard that has joined and was not compared with the others yet: what it holds.
        var unchecked: ShardState?
        var logsSteps = true
        /// Of a worker: whether it can write the results of the run.
        var writesResults = false
        /// Of a shard: what it said when it last joined.
        var holdings: ShardHoldings?
        var report: ShardReport?
        var lastResult: StepResult?
        /// Of a shard: the newest attempt that it is prepared for; nil if it has not said anything of that.
        var prepared: StepID?
        /// Of a shard: whether it says what it is prepared for; nil until its first report.
        var tellsPrepared: Bool?
        /// Of a worker: the job that it is a rank of.
        var job: JobRank?
        /// Of a worker: what it said last, and when that last changed.
        var activity: (said: WorkerActivity, changed: Duration)?
        /// Of a worker: steps that it was in, and where it runs.
        var steps = 0
        /// How fast it computes.
        var pace = WorkerPace()
        var place = ""
        /// Why it left, until it is back.
        var goodbye = ""
        /// Incarnations that later ones have taken the place of, the latest last: they do not take it back.
        var replaced: [UInt64] = []
    }

    public let configuration: CoordinatorConfiguration
    /// Drawn when the process starts; 0 if nobody has.
    let incarnation: UInt64
    /// What must not be forgotten.
    public internal(set) var record: CoordinatorRecord
    /// The step that is or will be computed.
    public internal(set) var id = StepID(step: 0, attempt: 0)
    var state = State.waiting(reason: "")
    var revision = 0
    var live: [MemberID: Live] = [:]
    var lastEvent = Duration.zero
    /// When the last step was committed, or this coordinator started.
    var lastCommit = Duration.zero
    /// Whether the record was not compared yet with what shards hold.
    var isRecordUnchecked = true
    var safe = -1
    var hasStarted = false
    var stepStart: Duration?
    /// Whether attempts of `id.step` were announced.
    var attempts = Attempts.unknown
    /// Attempts of this step that failed because a shard did not answer, and when the next may begin.
    var unresponsiveAttempts = 0
    var retryAt: Duration?
    /// Acknowledgements of the task under way: its details by shard.
    var acknowledged: [MemberID: String] = [:]
    /// Why a task could not be done, until it is tried again.
    var taskProblem: String?
    /// A step that is to be skipped, and why.
    var toSkip: CoordinatorStatus.Skipped?
    var lastSkipped: CoordinatorStatus.Skipped?
    var skippedSteps = 0
    var skippedInARow = 0
    var wantsCheckpoint = false
    var checkpointsBeingWritten: [Int: CoordinatorRecord.CheckpointRecord] = [:]
    var lastCheckpointTime = Duration.zero
    /// The step of the last checkpoint that was begun, whatever became of it.
    var lastCheckpointStep = -1
    var history: [StepReport] = []
    /// Workers that live and take no part for a while, and what became of workers by the place where they ran.
    var leftOut: [MemberID: LeftOut] = [:]
    var crashes: [String: Crashes] = [:]
    /// Workers that gave an attempt of this step up because a shard did not answer, and how often.
    var complaints: [MemberID: Int] = [:]
    /// Workers that were left out of the step in hand because something of theirs was not finite.
    var suspects: (step: Int, workers: [MemberID])?
    var ending = Ending()
    var evaluations = DueEvaluations()
    var orders = ClassOrders()
    var jobs = Jobs()
    /// Who could not do the task under way, and why, since it was announced first.
    var taskFailures: [MemberID: String] = [:]
    /// Shards that were told that they may go, by incarnation: they may not have heard it.
    var dismissed: [MemberID: UInt64] = [:]
    /// The newest step that each shard was known to have on its disk, in the present past.
    var marks: [MemberID: Int] = [:]
    /// Processes that came with a copy of the directory of a shard that may be alive, by incarnation, and since when they wait.
    var challenges: [UInt64: Duration] = [:]
    /// What was last refused in the name of a shard.
    var refusals: [MemberID: String] = [:]
    /// Whether shards hold more than the record knows of: it was put back from a copy.
    var isOlder = false
    /// The newest term and task that members know of, if the record does not.
    var highestTerm = 0
    var highestTask = 0
    /// Whether an attempt was announced in this term.
    var hasBegunInTerm = false
    /// Steps since the paces in the record were last changed by this coordinator.
    var stepsSinceShares = 0
    /// Whether it was said that the run is over.
    var hasSaidFinished = false
    var copies = Copies()
    var unreached = Unreached()

    /// - Parameters:
    ///   - record: what an earlier coordinator of this cluster decided; nil for a new cluster.
    ///   - incarnation: drawn at random when the process starts, so that its terms are told from another's; 0 for none.
    public init(_ configuration: CoordinatorConfiguration, record: CoordinatorRecord? = nil, incarnation: UInt64 = 0) {
        self.configuration = configuration
        self.incarnation = incarnation
        self.record = record ?? CoordinatorRecord()
        id = StepID(term: self.record.term, step: self.record.committed + 1, attempt: 0)
    }

    /// The first thing to call: a new term begins, in which nothing of an earlier one counts.
    public mutating func start(at now: Duration) -> [Action] {
        lastEvent = now
        lastCommit = now
        lastCheckpointTime = now
        hasStarted = record.committed >= 0
        var actions = beginTerm(committed: record.committed)
        if record.owners.isEmpty { attempts = .fresh }
        if !record.owners.isEmpty, record.pasts.isEmpty { actions += beginFirstPast() }
        if case .checkpoint = record.task?.kind {
            // Under a new number: shards remember what they did under the old one, whose files may be elsewhere by now.
            actions += decide(.task(nil))
            wantsCheckpoint = true
        }
        // A run that has failed may be taken up again: its reason may be gone.
        if record.failure != nil { actions += decide(.failed(nil)) }
        for member in record.members.keys {
            // Who owns nothing has a lease to return in; an owner is waited for.
            live[member] = Live(peer: nil, lastHeard: now, isAlive: !owns(member))
        }
        return decisionsFirst(actions + proceed(now))
    }

    /// The last committed step, -1 before the first.
    public var committed: Int { record.committed }
    public var checkpoints: [CoordinatorRecord.CheckpointRecord] { record.checkpoints }
    /// Every class operation that was ordered; those of `classVersion` are applied.
    public var operations: [CoordinatorRecord.ClassChange] { record.operations }
    public var classVersion: Int { record.classVersion }
    /// The operator's changes of the learning rate, by step.
    public var rates: [LearningRateChange] { record.rates }
    /// The operator's changes of the head's values, by step.
    public var headChanges: [HeadChange] { record.headChanges }

    /// When the machine wants a `.tick`.
    public var nextDeadline: Duration? {
        var deadline = retryAt
        func consider(_ time: Duration) { deadline = min(deadline ?? time, time) }
        // Often enough that a longer gap between events means that this process slept, not that nothing happened.
        if live.values.contains(where: \.isAlive) { consider(lastEvent + configuration.lease / 4) }
        for (_, member) in live where member.isAlive { consider(member.lastHeard + configuration.lease) }
        if let nextPromotion { consider(nextPromotion) }
        if let every = configuration.checkpointEvery, activity == .train || record.task != nil {
            consider(max(lastCheckpointTime + every, lastEvent + configuration.lease))
        }
        return deadline
    }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        forgiveAbsence(now)
        var actions: [Action] = []
        switch event {
        case .joined(
            let peer, let role, let incarnation, let endpoint, let previousNumber, let state, let place, let replaces,
            let writesResults, let job, let zone):
            let newcomer = Newcomer(
                peer: peer, incarnation: incarnation, endpoint: endpoint, previousNumber: previousNumber,
                state: state ?? ShardState(), place: place, replaces: replaces, writesResults: writesResults, job: job,
                zone: zone)
            actions = join(newcomer, role, now)
        case .heartbeat(let peer, let member, let incarnation, let report, let activity):
            actions = heard(peer, member, incarnation, now) { machine in
                if let activity, member.role == .worker { machine.note(activity, of: member, now) }
                guard member.role == .shard else { return [] }
                if let report {
                    if let doubt = machine.doubt(report, of: member, peer) { return doubt }
                    machine.take(report, of: member)
                }
                return machine.planned(for: member, peer)
            }
        case .left(let member, let incarnation, let reason, let exitCode):
            actions = leave(member, incarnation, reason, exitCode, now)
        case .ready(let peer, let member, let incarnation):
            actions = heard(peer, member, incarnation, now) { [.send(member, peer, $0.plan)] }
        case .stepDone(let peer, let member, let incarnation, let result):
            actions = heard(peer, member, incarnation, now) { $0.record(result, from: member, peer, now) }
        case .prepared(let peer, let member, let incarnation, let id):
            actions = heard(peer, member, incarnation, now) { $0.note(prepared: id, of: member) }
        case .stepFailed(let peer, let member, let incarnation, let id, let code, let message, let shard):
            actions = heard(peer, member, incarnation, now) {
                $0.recordFailure(of: id, from: member, code, message, by: shard, now) + [.send(member, peer, $0.plan)]
            }
        case .resultsWritten(let peer, let member, let incarnation, let id, let problem):
            actions = heard(peer, member, incarnation, now) {
                $0.settleResults(id, problem, from: member, now) + [.send(member, peer, $0.plan)]
            }
        case .evaluated(let peer, let member, let incarnation, let step, let problem):
            actions = heard(peer, member, incarnation, now) { $0.noteEvaluation(after: step, problem, by: member) }
        case .taskDone(let peer, let member, let incarnation, let number, let outcome):
            actions = heard(peer, member, incarnation, now) { $0.acknowledge(number, outcome, from: member, now) }
        case .knows(let term, let coordinator, let incarnation):
            actions = hear(ofTerm: term, by: coordinator, from: incarnation)
        case .checkpointWritten(let number, let problem): actions = recordCheckpoint(number, problem)
        case .tick: break
        default: actions = obey(event, now)
        }
        actions += expire(now)
        actions += proceed(now)
        return decisionsFirst(actions + finish())
    }

    /// What an event leads to is decided as a whole: the shell writes neighbouring decisions in one transaction, so that a crash
    /// leaves all of them or none.
    private func decisionsFirst(_ actions: [Action]) -> [Action] {
        func isDecision(_ action: Action) -> Bool { if case .persist = action { true } else { false } }
        return actions.filter(isDecision) + actions.filter { !isDecision($0) }
    }

    /// A coordinator that slept does not blame the others for its own silence.
    private mutating func forgiveAbsence(_ now: Duration) {
        let gap = now - lastEvent
        lastEvent = now
        guard gap > configuration.lease / 2 else { return }
        for member in live.keys { live[member]?.lastHeard += gap }
        if let preparedSince { self.preparedSince = preparedSince + gap }
    }

    /// Changes the record: the action must come before what follows from it.
    mutating func decide(_ decision: CoordinatorRecord.Decision) -> [Action] {
        record.apply(decision)
        return [.persist(decision)]
    }

    /// The plan that every member should have now.
    public var plan: Plan {
        let lastStep = max(0, configuration.totalSteps - 1)
        return Plan(
            revision: revision, id: id, committed: committed, mapVersion: record.mapVersion,
            classVersion: record.classVersion, safe: safe, exchange: configuration.exchange,
            learningRate: learningRate(min(id.step, lastStep)), ranks: ranks, shards: shardMap,
            moves: activeMoves, activity: activity, past: record.pasts.present, coordinator: incarnation,
            committedID: record.attempt(of: committed), job: planJob, head: headValues(min(id.step, lastStep)))
    }

    /// The plan for everyone who can be reached, under a new revision.
    mutating func broadcast() -> [Action] {
        revision += 1
        let plan = plan
        // Shards first: they take part in nothing but what their own plan announces.
        let receivers = live.keys.sorted { ($0.role == .worker ? 1 : 0, $0) < ($1.role == .worker ? 1 : 0, $1) }
        return receivers.compactMap { member in
            guard let known = live[member], known.isAlive, mayHear(member), let peer = known.peer else { return nil }
            return .send(member, peer, plan)
        }
    }
}
