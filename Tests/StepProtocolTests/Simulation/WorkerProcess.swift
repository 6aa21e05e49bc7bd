internal import Cluster
internal import StepProtocol

/// A worker process of the simulation: a machine, its shell and its connection to the coordinator.
final class WorkerProcess {
    let node: Int
    let sabotage: Sabotage?
    var machine: WorkerMachine<Words>?
    var shell: ToyWorkerShell
    var queue: [(id: StepID, work: Work, plan: Plan, generation: Int)] = []
    /// Computations of the machine before this one are not its own.
    var generation = 0
    /// Whether this coordinator has answered a greeting.
    var isGreeted = false
    var scheduledTick: Int64?
    /// It says that it lives and does nothing else.
    var isMute = false
    /// It says at once that every shard is prepared, and nobody has prepared anything.
    var lies = false
    var lastLie: StepID?
    /// It dies soon, and again.
    var isCrashing = false

    /// What the shell executes, one after the other.
    enum Work {
        case compute(WorkerComputation<Words>)
        /// The results of the run, with the parameters after this step.
        case results(committed: Int)
    }

    init(node: Int, scenario: Scenario) {
        self.node = node
        sabotage = scenario.sabotage
        shell = ToyWorkerShell(scenario)
    }

    func receive(_ message: Message, from peer: Int, _ simulation: Simulation) {
        switch message {
        case .welcome(let member):
            isGreeted = true
            guard machine?.member != member else { return }
            machine = WorkerMachine(member: member, timing: simulation.scenario.timing, empty: [])
            generation += 1
            handle(.tick, simulation)
        case .refuse(let code, _):
            if code == .incarnation || code == .notWelcomed { isGreeted = false }  // its next beat joins again
        case .plan(let plan):
            if lies { simulation.lie(self, plan) }
            if !isMute { handle(.plan(plan), simulation) }
        case .reply(let shard, let reply): if !isMute { handle(.reply(shard, reply), simulation) }
        default: break
        }
    }

    func handle(_ event: WorkerMachine<Words>.Event, _ simulation: Simulation) {
        guard let actions = machine?.handle(event, at: simulation.instant), let machine else { return }
        for action in actions {
            switch action {
            case .send(let shard, var request), .query(let shard, var request):
                if request.query != .none { request.payload = [] }
                let endpoint = machine.plan?.shards.first { $0.shard == shard }?.endpoint ?? ""
                if let peer = simulation.endpoints[endpoint] {
                    let sender = StepSender(member: machine.member, incarnation: UInt64(node))
                    simulation.send(.request(request, from: sender), from: node, to: peer)
                }
            case .report(let report):
                simulation.send(.report(machine.member, incarnation: UInt64(node), report), from: node, to: 0)
            case .ask: simulation.send(.ready(machine.member, incarnation: UInt64(node)), from: node, to: 0)
            case .compute(let id, let computation):
                guard let plan = machine.plan else {
                    return simulation.check(false, "a worker computes without a plan")
                }
                queue.append((id, .compute(computation), plan, generation))
                simulation.startComputing(node, queueLength: queue.count)
            case .writeResults(let id, let committed):
                guard let plan = machine.plan else {
                    return simulation.check(false, "a worker writes results without a plan")
                }
                queue.append((id, .results(committed: committed), plan, generation))
                simulation.startComputing(node, queueLength: queue.count)
            case .abandon(let id):
                // The first one is being executed; the others are dropped, but never an install.
                for index in queue.indices.reversed() where index > 0 && queue[index].id == id {
                    if case .compute(.install) = queue[index].work { continue }
                    queue.remove(at: index)
                }
            }
        }
        let limit = 4 * Scenario.largestShardCount + 1
        simulation.check(machine.payloadCount <= limit, "\(machine.member) holds \(machine.payloadCount) payloads")
        scheduleTick(simulation)
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
            handle(.moving(shard.shard), simulation)
        }
        handle(.tick, simulation)
    }

    func beat(_ simulation: Simulation) {
        if let plan = machine?.plan {
            simulation.send(.knows(term: plan.id.term, coordinator: plan.coordinator), from: node, to: 0)
        }
        if let machine, isGreeted {
            // What does nothing at all says as little as an old worker.
            let activity = isMute ? nil : machine.activity(unreached: unreached(simulation))
            let beat = Message.heartbeat(machine.member, incarnation: UInt64(node), report: nil, activity: activity)
            simulation.send(beat, from: node, to: 0)
            return
        }
        let greeting = Message.joined(
            .worker, incarnation: UInt64(node), endpoint: "worker \(node)", previousNumber: machine?.member.number,
            state: nil, place: isCrashing ? "where workers crash" : "host of \(node)", writesResults: true)
        simulation.send(greeting, from: node, to: 0)
    }

    /// A real worker asks the shards for a sign of life while it has nothing to do.
    private func unreached(_ simulation: Simulation) -> [MemberID] {
        (machine?.plan?.shards ?? []).filter { shard in
            simulation.endpoints[shard.endpoint].map {
                simulation.isCutForGood(node, $0) || simulation.isCutForGood($0, node)
            } ?? true
        }.map(\.shard)
    }

    /// The first computation of the queue has taken its time.
    func finishComputation(_ simulation: Simulation) {
        if queue.isEmpty { return }
        let work = queue[0]  // stays first, so that what follows from it queues up behind
        let isOwn = work.generation == generation
        let scenario = simulation.scenario
        do {
            switch work.work {
            case .compute(let computation):
                let isPoisoned = !scenario.poisonsShards && scenario.poisoned.contains(work.id.step)
                let result = try shell.execute(computation, work.id, plan: work.plan, isPoisoned: isPoisoned)
                if let result, isOwn { handle(.computed(work.id, result), simulation) }
            case .results(let committed):
                let problem = simulation.writeResults(shell.parameters, after: committed)
                if isOwn { handle(.resultsWritten(work.id, problem: problem), simulation) }
            }
        } catch let refusal as ToyRefusal {
            if isOwn { handle(.failed(work.id, .softmax, code: .notFinite, message: refusal.message), simulation) }
        } catch {
            simulation.check(false, "\(error)")
        }
        queue.removeFirst()
        if !queue.isEmpty { simulation.startComputing(node, queueLength: 1) }
    }
}
