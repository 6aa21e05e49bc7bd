public import Cluster

/// The worker's side of the step protocol: computes its rank of each planned step with every shard.
///
/// A value without I/O or clock. The shell feeds it events and executes its actions; it never looks into a payload.
/// The rules are in docs/step-protocol.md.
public struct WorkerMachine<Payload: Sendable>: Sendable {
    /// Whose parameters the shell's backbone holds.
    enum Held: Sendable, Hashable {
        case none
        /// Those of a step as it was committed in a term: after going back it may be committed with other classes.
        case committed(term: Int, Int)
        /// Those of an attempt that is not known to be committed.
        case tentative(StepID)
    }

    public let member: MemberID
    let timing: WorkerTiming
    let empty: Payload
    var attempt: WorkerAttempt<Payload>?
    var held = Held.none
    var nextAsk: Duration?
    var askInterval: Duration
    /// Grows whenever something goes on.
    var progress = 0
    /// The newest plan.
    public private(set) var plan: Plan?

    /// - Parameters:
    ///   - member: the number that the coordinator gave. A worker that gets another number needs a new machine.
    ///   - empty: the payload of a request that carries nothing (`parameters`, `forward` of the rows exchange).
    public init(member: MemberID, timing: WorkerTiming = WorkerTiming(), empty: Payload) {
        self.member = member
        self.timing = timing
        self.empty = empty
        askInterval = timing.askInterval
        nextAsk = .zero
    }

    /// Payloads held, for limits and tests.
    public var payloadCount: Int { attempt?.payloadCount ?? 0 }

    /// What the coordinator is told with every heartbeat.
    ///
    /// - Parameter unreached: shards that do not answer a worker which takes no part in a step.
    public func activity(unreached: [MemberID] = []) -> WorkerActivity {
        guard let plan, let attempt else { return WorkerActivity(waitsFor: unreached.map(\.number)) }
        let waits = attempt.shards.indices.filter { !attempt.shards[$0].outstanding.isEmpty }
        return WorkerActivity(
            id: attempt.id, computes: attempt.clock.isComputing, progress: progress,
            waitsFor: waits.filter(plan.shards.indices.contains).map { plan.shards[$0].shard.number })
    }

    /// The attempt that is being computed or reported, or nil.
    public var current: StepID? { attempt?.id }

    /// When the machine wants a `.tick`.
    public var nextDeadline: Duration? {
        var deadline = nextAsk
        func consider(_ other: Duration) { deadline = min(deadline ?? other, other) }
        guard let attempt else { return deadline }
        switch attempt.state {
        case .superseded: break
        case .reported(_, let nextReport): consider(nextReport)
        case .running:
            for shard in attempt.shards {
                for request in shard.outstanding.values { consider(min(request.nextSend, request.nextComplaint)) }
            }
        }
        return deadline
    }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        switch event {
        case .plan(let plan): follow(plan, now)
        case .reply(let shard, let reply): receive(reply, from: shard, now)
        case .computed(let id, let result): complete(id, result, now)
        case .failed(let id, let task, let code, let message): fail(id, task, code, message, now)
        case .moving(let shard): noteMovement(shard, now)
        case .resultsWritten(let id, let problem): settleResults(id, problem, now)
        case .tick: tick(now)
        }
    }

    // MARK: Plans

    private mutating func follow(_ plan: Plan, _ now: Duration) -> [Action] {
        if let known = self.plan {
            if plan == known || !plan.supersedes(known) { return [] }
        }
        let isSameAttempt = self.plan.map { $0.isSameAttempt(as: plan) } ?? false
        self.plan = plan
        postponeAsking(now)
        progress += 1
        if isSameAttempt, let attempt {
            if case .reported = attempt.state { nextAsk = nil }  // the report is repeated instead
            return []
        }
        var actions: [Action] = []
        if let attempt {
            if !attempt.isDone { actions.append(.abandon(attempt.id)) }
            self.attempt = nil
        }
        settle(plan)
        switch plan.activity {
        case .finished, .failed: nextAsk = nil
        case .wait, .task: break
        case .finishing(let writer):
            guard writer == member, let rank = plan.ranks.firstIndex(where: { $0.worker == member }) else { break }
            attempt = WorkerAttempt(plan: plan, rank: rank, at: now)
            actions += start(now)
        case .train:
            if let rank = plan.ranks.firstIndex(where: { $0.worker == member }) {
                attempt = WorkerAttempt(plan: plan, rank: rank, at: now)
                actions += start(now)
            }
        }
        return actions
    }

    /// What the held parameters are worth under a plan.
    ///
    /// Tentative ones of an attempt count if it is the one that was committed.
    private mutating func settle(_ plan: Plan) {
        let committed = Held.committed(term: plan.id.term, plan.committed)
        if case .tentative(let id) = held, id.term == plan.id.term, plan.isCommitted(id) { held = committed }
        if held != committed { held = .none }
    }

    private mutating func start(_ now: Duration) -> [Action] {
        guard let plan, let attempt else { return [] }
        // A job holds its own parameters.
        if plan.job != nil || held == .committed(term: plan.id.term, plan.committed) { return startComputing(now) }
        held = .none
        return attempt.shards.indices.flatMap { request(.parameters, of: $0, empty, now) }
    }

    mutating func startComputing(_ now: Duration) -> [Action] {
        guard let microBatches = attempt?.microBatches else { return [] }
        if case .finishing = plan?.activity { return writeResults(now) }
        return compute(.labels(microBatches: microBatches), now) + compute(.embed(microBatches: microBatches), now)
    }

    // MARK: Sending

    mutating func compute(_ computation: WorkerComputation<Payload>, _ now: Duration) -> [Action] {
        guard let id = attempt?.id else { return [] }
        if case .install = computation {} else { attempt?.clock.queued(at: now) }
        return [.compute(id, computation)]
    }

    mutating func request(_ phase: StepPhase, of shard: Int, _ payload: Payload, _ now: Duration) -> [Action] {
        let outstanding = WorkerAttempt.Outstanding(payload: payload, at: now, timing)
        attempt?.shards[shard].outstanding[phase] = outstanding
        return send(phase, to: shard, payload)
    }

    func send(
        _ phase: StepPhase, to shard: Int, _ payload: Payload, query: StepQuery = .none
    ) -> [Action] {
        guard let plan, let attempt, plan.shards.indices.contains(shard) else { return [] }
        var request = StepRequest(
            id: attempt.id, rank: attempt.rank, worldSize: plan.ranks.count, mapVersion: plan.mapVersion,
            phase: phase, committed: plan.committed, exchange: plan.exchange, learningRate: plan.learningRate,
            microBatches: attempt.microBatches, payload: payload, committedID: plan.committedID)
        request.query = query
        return [query == .none ? .send(plan.shards[shard].shard, request) : .query(plan.shards[shard].shard, request)]
    }

    mutating func report(_ report: WorkerReport, _ now: Duration) -> [Action] {
        let nextReport = now + timing.retryInterval
        attempt?.state = .reported(report, nextReport: nextReport)
        nextAsk = nil  // the report is answered with the plan
        return [.report(report)]
    }

    /// Something happened: asking starts over.
    mutating func postponeAsking(_ now: Duration) {
        askInterval = timing.askInterval
        nextAsk = now + askInterval
    }

    mutating func ask(_ now: Duration) -> [Action] {
        askInterval = min(askInterval * 2, timing.maximumAskInterval)
        nextAsk = now + askInterval
        return [.ask]
    }
}
