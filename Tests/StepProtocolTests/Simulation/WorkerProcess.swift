internal import Cluster
internal import StepProtocol

/// A worker process of the simulation: a machine, its shell and its connection to the coordinator.
final class WorkerProcess {
    typealias Session = WorkerSession<Words>

    let node: Int
    let sabotage: Sabotage?
    /// What the worker decides: the real one.
    var session: Session
    var machine: Session.Machine? { session.machine }
    var shell: ToyWorkerShell
    var queue: [(id: StepID, work: Work, plan: Plan?, generation: Int)] = []
    /// Computations of the machine before this one are not its own.
    var generation = 0
    /// Whether this coordinator has answered a greeting.
    var isGreeted = false
    /// The number that each shard knows it by: that of when it connected.
    var numbers: [MemberID: MemberID] = [:]
    var scheduledTick: Int64?
    /// It says that it lives and does nothing else.
    var isMute = false
    /// It says at once that every shard is prepared, and nobody has prepared anything.
    var lies = false
    var lastLie: StepID?
    /// It dies soon, and again.
    var isCrashing = false
    /// What it is in a job.
    var jobRank: JobRank?
    private var parts = ToyParts()
    /// The shards that it is connected to, and where.
    private var connections: [MemberID: String] = [:]
    private var probe = ShardProbe()
    var job: ToyJob? {
        get { shell.job }
        set { shell.job = newValue }
    }

    /// What the shell executes, one after the other.
    enum Work {
        case compute(WorkerComputation<Words>)
        /// The results of the run, with the parameters after this step.
        case results(committed: Int)
        case adopt(classVersion: Int)
    }

    init(node: Int, scenario: Scenario) {
        self.node = node
        sabotage = scenario.sabotage
        shell = ToyWorkerShell(scenario)
        session = Session(timing: scenario.timing, empty: [])
    }

    func receive(_ message: Message, from peer: Int, _ simulation: Simulation) {
        switch message {
        case .welcome(let member, _):
            isGreeted = true
            tell(.welcomed(.init(cluster: "simulated", member: member)), simulation)
        case .refuse(let code, _):
            if [.superseded, .jobDisagrees, .stepGone].contains(code) { return simulation.turnAway(self, code) }
            tell(.refused(code), simulation)
        case .plan(let plan):
            writePart(of: plan, simulation)
            if lies { simulation.lie(self, plan) }
            if !isMute { tell(.plan(plan), simulation) }
        case .classes(let version, _): if !isMute { tell(.classes(version: version), simulation) }
        case .reply(let shard, let reply): if !isMute { hear(reply, of: shard, simulation) }
        default: break
        }
    }

    /// Rank 0 of a job writes its part of a checkpoint, and says so.
    private func writePart(of plan: Plan, _ simulation: Simulation) {
        guard let job, let jobRank, jobRank.rank == 0, plan.job?.id == job.id, case .task(let task) = plan.activity,
            case .checkpoint(let directory) = task.kind, let member = session.member
        else { return }
        guard let parameters = job.parameters(after: task.step) else {
            simulation.check(false, "job \(job.id) is to save step \(task.step), which it has not done")
            return
        }
        simulation.world.jobCheckpoints[directory] = .init(
            step: task.step, past: plan.past, parameters: parameters)
        let done = Message.taskDone(
            member, incarnation: UInt64(node), number: task.number, .done(detail: "[]"))
        simulation.send(done, from: node, to: 0)
    }

    func tell(_ event: Session.Event, _ simulation: Simulation) {
        for action in session.handle(event, at: simulation.instant) { carryOut(action, simulation) }
        guard let machine else { return }
        let limit = 4 * Scenario.largestShardCount + 1
        simulation.check(machine.payloadCount <= limit, "\(machine.member) holds \(machine.payloadCount) payloads")
        scheduleTick(simulation)
    }

    private func carryOut(_ action: Session.Action, _ simulation: Simulation) {
        switch action {
        case .step(let action): carryOut(action, simulation)
        case .greet: if sabotage != .doesNotJoinAgain { isGreeted = false }  // its next beat joins again
        case .introduce, .say: break
        case .prepare: tell(.prepared(problem: nil), simulation)
        case .beat: giveSign(simulation)
        case .disconnect:
            generation += 1
            if sabotage != .keepsOldConnections { numbers = [:] }
            connections = [:]
        case .follow(let plan):
            guard let member = session.member else { return }
            for shard in plan.shards where numbers[shard.shard] == nil { numbers[shard.shard] = member }
            switch plan.activity {
            case .train, .finishing:
                connections = Dictionary(plan.shards.map { ($0.shard, $0.endpoint) }) { $1 }
            case .wait, .task, .finished, .failed: break
            }
        case .askForClasses: simulation.send(.readClasses, from: node, to: 0)
        case .adoptClasses(let version, let id):
            if sabotage == .keepsOldClasses { return }
            enqueue(id, .adopt(classVersion: version), simulation)
        case .leave(let member, _, _):
            simulation.send(.left(member, incarnation: UInt64(node)), from: node, to: 0)
        case .end(let code):
            simulation.note("worker \(node) ends with \(code)")
            (simulation.workers[node], simulation.stopped[node]) = (nil, nil)
        }
    }

    private func carryOut(_ action: Session.Machine.Action, _ simulation: Simulation) {
        guard let machine else { return }
        switch action {
        case .send(let shard, let request), .query(let shard, let request):
            send(parts.cut(request, to: shard, of: job), to: shard, simulation)
        case .report(let report):
            simulation.send(.report(machine.member, incarnation: UInt64(node), report), from: node, to: 0)
        case .ask: simulation.send(.ready(machine.member, incarnation: UInt64(node)), from: node, to: 0)
        case .compute(let id, let computation): enqueue(id, .compute(computation), simulation)
        case .writeResults(let id, let committed): enqueue(id, .results(committed: committed), simulation)
        case .abandon(let id):
            // The first one is being executed; the others are dropped, but never an install.
            for index in queue.indices.reversed() where index > 0 && queue[index].id == id {
                switch queue[index].work {
                case .compute(.install), .adopt: continue
                case .compute, .results: queue.remove(at: index)
                }
            }
        }
    }

    private func send(_ request: StepRequest<Words>, to shard: MemberID, _ simulation: Simulation) {
        guard let machine else { return }
        var request = request
        if request.query != .none { request.payload = [] }
        let endpoint = machine.plan?.shards.first { $0.shard == shard }?.endpoint ?? ""
        guard let peer = simulation.endpoints[endpoint] else { return }
        let sender = StepSender(member: numbers[shard] ?? machine.member, incarnation: UInt64(node))
        simulation.send(.request(request, from: sender), from: node, to: peer)
    }

    private func hear(_ reply: StepReply<Words>, of shard: MemberID, _ simulation: Simulation) {
        let (whole, next) = parts.join(reply, from: shard, of: job)
        if let next {
            simulation.feats["part", default: 0] += 1
            send(next, to: shard, simulation)
        }
        if let whole { tell(.step(.reply(shard, whole)), simulation) }
    }

    private func enqueue(_ id: StepID, _ work: Work, _ simulation: Simulation) {
        queue.append((id, work, machine?.plan, generation))
        simulation.startComputing(node, queueLength: queue.count)
    }

    private func scheduleTick(_ simulation: Simulation) {
        guard let deadline = machine?.nextDeadline else { return }
        let time = max(simulation.milliseconds(roundingUp: deadline), simulation.now)
        if let scheduledTick, scheduledTick <= time { return }
        scheduledTick = time
        simulation.scheduleTick(node, at: time)
    }

    func tick(_ simulation: Simulation) {
        guard scheduledTick == simulation.now else { return }
        scheduledTick = nil
        if isMute { return }
        for shard in machine?.plan?.shards ?? [] {
            guard let peer = simulation.endpoints[shard.endpoint], simulation.isMoving(node, peer) else { continue }
            tell(.step(.moving(shard.shard)), simulation)
        }
        tell(.step(.tick), simulation)
    }

    func beat(_ simulation: Simulation) {
        let introduction = session.introduction
        if introduction.term > 0 {
            let message = Message.knows(
                term: introduction.term, coordinator: introduction.coordinator, from: UInt64(node))
            simulation.send(message, from: node, to: 0)
        }
        if isGreeted { return giveSign(simulation) }
        let greeting = Message.joined(
            .worker, incarnation: UInt64(node), endpoint: "worker \(node)",
            previousNumber: introduction.previousNumber,
            state: nil, place: isCrashing ? "where workers crash" : "host of \(node)", writesResults: true,
            job: jobRank)
        simulation.send(greeting, from: node, to: 0)
    }

    private func giveSign(_ simulation: Simulation) {
        guard let machine else { return }
        // What does nothing at all says as little as an old worker.
        let activity = isMute ? nil : machine.activity(unreached: unreached(simulation))
        let beat = Message.heartbeat(machine.member, incarnation: UInt64(node), report: nil, activity: activity)
        simulation.send(beat, from: node, to: 0)
    }

    /// The shards that it does not reach while it has nothing to do. Those that it has asked answer once they are reached: its question
    /// is repeated until then.
    private func unreached(_ simulation: Simulation) -> [MemberID] {
        guard machine?.current == nil else {
            probe.stop()
            return []
        }
        for (shard, endpoint) in connections {
            guard let peer = simulation.endpoints[endpoint] else { continue }
            let isCut =
                simulation.isCutForGood(node, peer) || simulation.isCutForGood(peer, node)
                || simulation.isIsolated(node, peer) || simulation.isIsolated(peer, node)
            if !isCut { probe.answered(shard) }
        }
        return probe.look(at: connections.keys.sorted(), simulation.instant).silent
    }

    /// The first computation of the queue has taken its time.
    func finishComputation(_ simulation: Simulation) {
        if queue.isEmpty { return }
        let work = queue[0]  // stays first, so that what follows from it queues up behind
        let isOwn = work.generation == generation
        let scenario = simulation.scenario
        do {
            switch work.work {
            case .adopt(let version): shell.classVersion = version  // of whatever machine: the shell is the same
            case .compute(let computation):
                guard let plan = work.plan else {
                    throw Violation("a worker computes without a plan")
                }
                let isPoisoned = !scenario.poisonsShards && scenario.poisoned.contains(work.id.step)
                let result = try shell.execute(computation, work.id, plan: plan, isPoisoned: isPoisoned)
                if let result, isOwn { tell(.step(.computed(work.id, result)), simulation) }
            case .results(let committed):
                let problem = simulation.writeResults(shell.parameters, after: committed)
                if isOwn { tell(.step(.resultsWritten(work.id, problem: problem)), simulation) }
            }
        } catch let refusal as ToyRefusal {
            if isOwn {
                tell(.step(.failed(work.id, .softmax, code: .notFinite, message: refusal.message)), simulation)
            }
        } catch {
            simulation.check(false, "\(error)")
        }
        queue.removeFirst()
        if !queue.isEmpty { simulation.startComputing(node, queueLength: 1) }
    }
}
