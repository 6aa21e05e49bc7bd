public import Cluster

/// What a shard decides besides its steps: who it is to the coordinator, when it joins again and with what, which plan it follows with
/// which classes, and how it goes.
///
/// A value without I/O or clock around the machine of its steps and the receiver of slices on their way here. The shell tells it what
/// happens, and carries out its actions in order. The rules are in docs/step-protocol.md.
public struct ShardSession<Peer: Hashable & Sendable, Payload: Sendable, Parcel: Sendable>: Sendable {
    public typealias Machine = ShardMachine<Peer, Payload>
    public typealias Receiver = SliceReceiver<Parcel>
    public typealias Keeper = SliceKeeper<Parcel>

    /// The machine of the steps, and the receiver; nil until what the directory holds is loaded.
    public internal(set) var machine: Machine?
    public internal(set) var receiver: Receiver?
    /// Second copies of other shards' slices; nil as the receiver is.
    public internal(set) var keeper: Keeper?
    /// What the shard says of itself in a hello.
    public private(set) var introduction: Introduction
    /// The number that the coordinator has given; nil before the first welcome.
    public private(set) var member: MemberID?
    /// Whether the coordinator has let it in and has not taken that back.
    public private(set) var isWelcome = false
    /// Whether the process is to end.
    public internal(set) var isOver = false

    let timing: ShardTiming
    private let empty: Payload
    /// nil: it keeps nothing.
    var directory: Directory?
    var departure = Departure.none
    private var preparation = Preparation.none
    /// What it holds, as the shell has told.
    private var held: ShardState
    /// The classes that it knows, and the term in which the coordinator told them, if it did.
    private var classes = (version: 0, term: 0)
    /// The term of the operations that are being taken over.
    private var adoptedTerm: Int?
    /// The newest plan that waits for what is loaded, or for the classes.
    private var waitingPlan: Plan?
    /// The committed step that the coordinator has heard of.
    private var reportedStep = -1
    /// Whether `introduction` is not what the shell was told, and what it was made of.
    private var isChanged = false
    private var introduced = (committed: -1, task: 0)

    private enum Preparation {
        case none, running
        case done(microBatchCount: Int)
    }

    /// How a shard goes.
    enum Departure {
        case none
        /// The process before this one was ended on its way out: the coordinator is to forget that.
        case wasCalledOff
        /// The coordinator is asked to have the slices handed over, and must answer by then.
        case asked(until: Duration)
        /// The slices are being handed over.
        case draining
        /// Others have everything: it leaves its directory empty.
        case handedOver
        /// It leaves its directory empty, and then joins anew. If it cannot it was turned away for this reason.
        case beginningAnew(refusal: String)
    }

    /// - Parameters:
    ///   - directory: what is in the shard's directory; nil if it keeps nothing.
    ///   - empty: the payload of an answer that carries nothing.
    public init(
        _ introduction: Introduction, directory: Directory?, timing: ShardTiming = ShardTiming(), empty: Payload
    ) {
        self.introduction = introduction
        held = introduction.state
        self.directory = directory
        self.timing = timing
        self.empty = empty
        if directory?.isGoing == true { departure = .wasCalledOff }
    }

    /// When the session wants a `.tick`.
    public var nextDeadline: Duration? {
        var deadlines = [receiver?.nextDeadline, keeper?.nextDeadline]
        switch departure {
        case .handedOver: return nil
        case .asked(let deadline): deadlines.append(deadline)
        case .none, .wasCalledOff, .draining, .beginningAnew: break
        }
        return deadlines.compactMap { $0 }.min()
    }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        if isOver { return [] }
        if case .handedOver = departure { return isLast(event) }
        let actions = react(to: event, now)
        return introduce() + actions
    }

    private mutating func react(to event: Event, _ now: Duration) -> [Action] {
        switch event {
        case .welcomed(let cluster, let member): return enter(cluster, member, now)
        case .prepared(let found):
            preparation = .done(microBatchCount: found.microBatchCount)
            return begin(found, now)
        case .notPrepared(let problem, let isConfiguration):
            return fail(problem, isConfiguration ? ExitCode.configuration : ExitCode.misfit)
        case .holds(let state, let version):
            classes.version = version
            if state == held { return [] }
            (held, isChanged) = (state, true)
            return step(.past(state.holdings?.past ?? 0), now)
                + keep(.holds(owned: state.holdings?.owned ?? [], copies: state.holdings?.kept ?? []), now)
        case .turnedAway(let code, let message): return turnAway(code, message)
        case .refused(.drained): return handOver()
        case .refused(let code):
            // It took us for dead: join again.
            guard code == .incarnation || code == .notWelcomed else { return [] }
            isWelcome = false
            return [.greet]
        case .answered(let isAccepted, let text): return takeAnswer(isAccepted, text)
        case .plan(let plan, let misfit):
            if let misfit {
                return fail("the coordinator's plan does not fit its configuration: \(misfit)", ExitCode.misfit)
            }
            return hear(plan, now)
        case .classes(let version): return learnClasses(version)
        case .classesAdopted:
            classes.term = adoptedTerm ?? classes.term
            adoptedTerm = nil
            return resume(now)
        case .gaveUp(let problem): return beginAnew(problem)
        case .step(let event): return step(event, now)
        case .copy(let event): return copy(event, now)
        case .keep(let event): return keep(event, now)
        case .reply(let request, let reply):
            // A slice that moves to the shard that keeps its copy may be asked for by both.
            return copy(.reply(to: request, reply), now) + keep(.reply(to: request, reply), now)
        case .unreachable(let owner): return copy(.unreachable(owner), now) + keep(.unreachable(owner), now)
        case .moving(let owner): return copy(.moving(owner), now) + keep(.moving(owner), now)
        case .broken(let reason): return fail(reason, ExitCode.misfit)
        case .stop(let reason, let mayDrain): return stop(reason, mayDrain, now)
        case .tick:
            if case .asked(let deadline) = departure, deadline <= now {
                return leave("the coordinator does not answer")
            }
            return copy(.tick, now) + keep(.tick, now)
        }
    }

    // MARK: Joining

    private mutating func enter(_ cluster: String, _ member: MemberID, _ now: Duration) -> [Action] {
        if self.member != nil, introduction.cluster != cluster {
            let text = "the coordinator now runs cluster \(cluster), this shard holds a part of \(introduction.cluster)"
            return [.say(.error, text)] + end(ExitCode.misfit)
        }
        let isRenamed = self.member.map { $0 != member } ?? false
        (self.member, isWelcome) = (member, true)
        (introduction.cluster, introduction.previousNumber, isChanged) = (cluster, member.number, true)
        var actions: [Action] = [.say(.info, "joined cluster \(cluster) as \(member)")]
        if case .wasCalledOff = departure { actions.append(.askToStay(member)) }
        switch preparation {
        case .none:
            preparation = .running
            return actions + [.beat, .prepare]
        case .running: return actions + (isRenamed ? [.rename(member)] : []) + [.beat]
        case .done(let count):
            guard isRenamed else { return actions + [.beat] }
            // The coordinator gives up the number of a shard that owns nothing, and what that one was to receive. Under the new number
            // it may own slices of which it has nothing: these are restored, and not taken for those of the step that it follows.
            held.holdings?.received = []
            held.holdings?.receivedDense = []
            let drops = (receiver?.dropAll() ?? []).map(Action.copy)
            let kept = keeper?.kept ?? [:]
            return actions + [.rename(member)] + drops + begin(Prepared(microBatchCount: count, kept: kept), now)
        }
    }

    private mutating func begin(_ found: Prepared, _ now: Duration) -> [Action] {
        guard let member else { return [] }
        machine = Machine(
            member: member, microBatchCount: found.microBatchCount, committed: found.committed,
            prepared: found.prepared, lastTask: found.lastTask, holdings: held.holdings,
            transfersPerStep: timing.transfersPerStep, empty: empty)
        receiver = Receiver(
            member: member, completedTask: found.lastTask, handedOver: found.handedOver, window: timing.window,
            retryInterval: timing.retryInterval)
        keeper = Keeper(
            member: member, kept: found.kept, lastTask: found.lastTask, window: timing.window,
            retryInterval: timing.retryInterval)
        return [.beat] + resume(now)
    }

    /// What is said of the state when the coordinator comes back must not be older than what it has been told.
    private mutating func introduce() -> [Action] {
        let facts = (committed: machine?.committed ?? -1, task: machine?.newestTask ?? 0)
        guard isChanged || facts != introduced else { return [] }
        var state = held
        // Also of tasks that the directory need not remember.
        if machine != nil, let known = state.holdings { state.holdings?.lastTask = max(known.lastTask, facts.task) }
        introduction.state = machine == nil ? state : state.after(commitOf: facts.committed)
        (isChanged, introduced) = (false, facts)
        return [.introduce]
    }

    /// What a heartbeat says; nil before there is anything to say.
    ///
    /// - Parameters:
    ///   - durable: the last step that a power cut cannot take.
    ///   - obstacle: why it cannot prepare, or empty.
    public mutating func report(durable: Int, obstacle: String, at now: Duration) -> ShardReport? {
        guard let machine else { return nil }
        reportedStep = machine.committed
        return ShardReport(
            committed: machine.committed, durable: min(durable, machine.committed),
            received: receiver?.received ?? [:], obstacle: obstacle, past: held.holdings?.past ?? 0,
            prepared: machine.prepared ?? .nothing, waiting: machine.waiting(at: now), kept: keeper?.reported ?? [:])
    }

    // MARK: Plans

    private mutating func hear(_ plan: Plan, _ now: Duration) -> [Action] {
        // Until it is let in it may get another number, and the plan may be about that one.
        guard isWelcome else { return [] }
        // Plans may overtake each other.
        if let waitingPlan, !plan.supersedes(waitingPlan) { return [] }
        waitingPlan = plan
        var actions = resume(now)
        // The coordinator waits for the word that the last step is committed everywhere.
        if plan.activity == .finished, let machine, machine.committed != reportedStep { actions.append(.beat) }
        return actions
    }

    /// Follows the plan once the state is there and the plan's classes are known.
    private mutating func resume(_ now: Duration) -> [Action] {
        guard let plan = waitingPlan, machine != nil else { return [] }
        guard knowsClasses(of: plan) else { return adoptedTerm == nil ? [.askForClasses] : [] }
        waitingPlan = nil
        if plan.id.term >= introduction.term,
            (plan.id.term, plan.coordinator) != (introduction.term, introduction.coordinator)
        {
            (introduction.term, introduction.coordinator) = (plan.id.term, plan.coordinator)
            isChanged = true
        }
        // What the map gives to this shard is taken over before the receiver drops what it does not need any more.
        let actions = [.follow(plan)] + step(.plan(plan), now)
        // Its slices went to others while it was away, and with them its word on the classes: it asks before it copies anything.
        if isDisowned(by: plan) { return actions }
        return actions + copy(.plan(plan), now) + keep(.plan(plan), now)
    }

    /// Whether it holds slices of its own and the map gives it none.
    private func isDisowned(by plan: Plan) -> Bool {
        guard plan.mapVersion > 0, held.holdings?.owned.isEmpty == false else { return false }
        return !plan.shards.contains { $0.shard == member }
    }

    /// Whoever has slices learns of operations by tasks and from its log; others ask. After going back, operations of the same number
    /// may be others.
    private func knowsClasses(of plan: Plan) -> Bool {
        if machine?.ownsSlices == true || held.hasSlices { return true }
        // While others are taken over, those that it had do not count any more.
        return adoptedTerm == nil && classes.version == plan.classVersion
            && (plan.classVersion == 0 || classes.term == plan.id.term)
    }

    /// The coordinator has told its operations on the classes. If they are not those of the plan another plan is on its way.
    private mutating func learnClasses(_ version: Int) -> [Action] {
        guard let plan = waitingPlan, version == plan.classVersion, adoptedTerm == nil, !knowsClasses(of: plan) else {
            return []
        }
        adoptedTerm = plan.id.term
        return [.adoptClasses]
    }

    // MARK: Steps and copies

    private mutating func step(_ event: Machine.Event, _ now: Duration) -> [Action] {
        (machine?.handle(event, at: now) ?? []).map { .step($0) }
    }

    private mutating func copy(_ event: Receiver.Event, _ now: Duration) -> [Action] {
        var actions: [Action] = []
        for action in receiver?.handle(event, at: now) ?? [] {
            if case .complete(let task) = action {
                actions += step(.copiesComplete(task: task), now)
            } else {
                actions.append(.copy(action))
            }
        }
        return actions
    }

    private mutating func keep(_ event: Keeper.Event, _ now: Duration) -> [Action] {
        guard keeper != nil else { return [] }
        let actions = (keeper?.handle(event, at: now) ?? []).map(Action.keep)
        let kept = Set(keeper?.reported.keys ?? [:].keys)
        return kept == machine?.kept ? actions : actions + step(.kept(kept), now)
    }

    /// What the process ends with (docs/operations.md).
    enum ExitCode {
        static var misfit: Int32 { 70 }
        static var refused: Int32 { 77 }
        static var configuration: Int32 { 78 }
    }
}
