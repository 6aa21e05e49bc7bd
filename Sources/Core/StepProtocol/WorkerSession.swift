public import Cluster

/// What a worker decides besides its steps: who it is to the coordinator, when it joins again, which plan it follows with which classes,
/// and when and how it goes.
///
/// A value without I/O or clock around the machine of its steps. The shell tells it what happens, and carries out its actions in order.
/// The rules are in docs/step-protocol.md.
public struct WorkerSession<Payload: Sendable>: Sendable {
    public typealias Machine = WorkerMachine<Payload>

    /// The machine of the steps; nil before the first welcome, and while the worker prepares.
    public private(set) var machine: Machine?
    /// What the worker says of itself in a hello.
    public private(set) var introduction = Introduction()
    /// The number that the coordinator has given; nil before the first welcome.
    public private(set) var member: MemberID?
    /// Whether the coordinator has let it in and has not taken that back.
    public private(set) var isWelcome = false
    /// Whether the process is to end.
    public private(set) var isOver = false

    private let timing: WorkerTiming
    private let empty: Payload
    private let mustResume: Bool
    private var preparation = Preparation.none
    /// The classes that are computed with, and the term in which the coordinator gave them.
    private var classes = (version: 0, term: 0)
    /// A plan that trains with other classes: it is followed once they are known.
    private var waitingPlan: Plan?
    /// Why the results could not be written, if they could not.
    private var resultsProblem: String?

    private enum Preparation { case none, running, done }

    /// - Parameters:
    ///   - mustResume: a run that begins from nothing is refused.
    ///   - empty: the payload of a request that carries nothing.
    public init(timing: WorkerTiming = WorkerTiming(), mustResume: Bool = false, empty: Payload) {
        self.timing = timing
        self.mustResume = mustResume
        self.empty = empty
    }

    /// When the session wants the machine to have a `.tick`.
    public var nextDeadline: Duration? { machine?.nextDeadline }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        if isOver { return [] }
        switch event {
        case .welcomed(let welcome): return enter(welcome, now)
        case .prepared(let problem):
            preparation = .done
            if let problem { return go(problem, ExitCode.configuration, isError: true) }
            return settle(now)
        case .turnedAway: return end(ExitCode.refused)
        case .refused(let code):
            // It took us for dead: join again.
            guard code == .incarnation || code == .notWelcomed else { return [] }
            isWelcome = false
            return [.greet]
        case .plan(let plan, let misfit):
            if let misfit {
                let problem = "the coordinator's plan does not fit its configuration: \(misfit)"
                return go(problem, ExitCode.misfit, isError: true)
            }
            return hear(plan, now)
        case .classes(let version): return learnClasses(version, now)
        case .classesDoNotFit(let problem):
            let text = "the coordinator's class operations do not fit its configuration: \(problem)"
            return go(text, ExitCode.misfit, isError: true)
        case .step(let event):
            if case .resultsWritten(_, let problem) = event { resultsProblem = problem }
            return step(event, now)
        case .stop(let reason): return stop(reason)
        }
    }

    // MARK: Joining

    private mutating func enter(_ welcome: Welcome, _ now: Duration) -> [Action] {
        let known = introduction.cluster
        if !known.isEmpty, known != welcome.cluster {
            // It was no member of that cluster, and has nothing to say to it.
            let text = "the coordinator now runs cluster \(welcome.cluster), this worker trained \(known)"
            return [.say(.error, text)] + end(ExitCode.misfit)
        }
        (introduction.cluster, member, isWelcome) = (welcome.cluster, welcome.member, true)
        switch preparation {
        case .running: return []
        case .done: return settle(now)
        case .none:
            if mustResume, welcome.committed < 0, !welcome.hasCheckpoint {
                let text = "there is nothing to resume: the run has no committed step and no checkpoint"
                return go(text, ExitCode.configuration, isError: true)
            }
            preparation = .running
            return [.prepare]
        }
    }

    /// It has a number, and can compute.
    private mutating func settle(_ now: Duration) -> [Action] {
        guard let member else { return [] }
        var actions: [Action] = []
        if machine?.member != member {
            machine = Machine(member: member, timing: timing, empty: empty)
            // To shards this worker has said another number: they hear the new one.
            actions.append(.disconnect)
        }
        // By these a coordinator that was started again knows this worker.
        introduction.previousNumber = member.number
        let text = "joined cluster \(introduction.cluster) as \(member)"
        return actions + [.introduce, .say(.info, text), .beat] + step(.tick, now)
    }

    // MARK: Plans

    private mutating func hear(_ plan: Plan, _ now: Duration) -> [Action] {
        var actions: [Action] = []
        if plan.id.term >= introduction.term,
            (plan.id.term, plan.coordinator) != (introduction.term, introduction.coordinator)
        {
            (introduction.term, introduction.coordinator) = (plan.id.term, plan.coordinator)
            actions.append(.introduce)
        }
        // Plans may overtake each other.
        if let waitingPlan, !plan.supersedes(waitingPlan) { return actions }
        waitingPlan = nil
        if plan.activity == .train, !knowsClasses(of: plan) {
            waitingPlan = plan
            return actions + [.askForClasses]
        }
        return actions + follow(plan, now)
    }

    /// After going back, operations of the same number may be others.
    private func knowsClasses(of plan: Plan) -> Bool {
        classes.version == plan.classVersion && (plan.classVersion == 0 || classes.term == plan.id.term)
    }

    /// The coordinator has told its operations on the classes. An answer that comes twice, or too early, is of no use: the plan comes again,
    /// and the question with it.
    private mutating func learnClasses(_ version: Int, _ now: Duration) -> [Action] {
        guard let plan = waitingPlan, version >= plan.classVersion else { return [] }
        waitingPlan = nil
        classes = (plan.classVersion, plan.id.term)
        return [.adoptClasses(version: plan.classVersion, plan.id)] + follow(plan, now)
    }

    private mutating func follow(_ plan: Plan, _ now: Duration) -> [Action] {
        let actions = [.follow(plan)] + step(.plan(plan), now)
        switch plan.activity {
        case .finished:
            return actions + [.say(.info, "finished after step \(plan.committed)")] + go("the run is finished", 0)
        case .failed(let reason):
            return actions + [.say(.error, "the run failed: \(reason)")] + go("the run has failed", ExitCode.failed)
        case .finishing(let writer):
            guard let writer, writer != member else { return actions }
            return actions + [.say(.info, "\(writer) writes the results; standing by")]
        case .train, .wait, .task: return actions
        }
    }

    private mutating func step(_ event: Machine.Event, _ now: Duration) -> [Action] {
        (machine?.handle(event, at: now) ?? []).map { .step($0) }
    }

    // MARK: Going

    /// The process is told to end. If it could not write the results it says so by its exit code.
    private mutating func stop(_ reason: String) -> [Action] {
        guard case .finishing(let writer) = machine?.plan?.activity else { return go(reason, 0) }
        if resultsProblem != nil { return go(reason, ExitCode.notWritten) }
        guard let writer, writer == member else { return go(reason, 0) }
        return [.say(.warning, "the results are not written")] + go(reason, ExitCode.tryLater)
    }

    /// Tells the coordinator why this worker goes, and ends.
    private mutating func go(_ reason: String, _ code: Int32, isError: Bool = false) -> [Action] {
        let said: [Action] = isError ? [.say(.error, reason)] : []
        return said + (member.map { [.leave($0, reason: reason, exitCode: code)] } ?? []) + end(code)
    }

    private mutating func end(_ code: Int32) -> [Action] {
        isOver = true
        return [.end(exitCode: code)]
    }

    /// What the process ends with (docs/operations.md).
    private enum ExitCode {
        static var failed: Int32 { 1 }
        static var misfit: Int32 { 70 }
        static var notWritten: Int32 { 74 }
        static var tryLater: Int32 { 75 }
        static var refused: Int32 { 77 }
        static var configuration: Int32 { 78 }
    }
}
