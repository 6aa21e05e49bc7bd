internal import StepProtocol

/// A worker process of the simulation: a machine, its shell and its connection to the coordinator.
final class WorkerProcess {
    let node: Int
    let sabotage: Sabotage?
    var machine: WorkerMachine<Words>?
    var shell: ToyWorkerShell
    var queue: [(StepID, WorkerComputation<Words>)] = []
    /// Computations of the machine before this one are not its own.
    var generation = 0
    var queuedGenerations: [Int] = []
    var scheduledTick: Int64?

    init(node: Int, scenario: Scenario) {
        self.node = node
        sabotage = scenario.sabotage
        shell = ToyWorkerShell(sabotage: sabotage)
    }

    func receive(_ message: Message, from peer: Int, _ simulation: Simulation) {
        switch message {
        case .welcome(let member):
            guard machine == nil else { return }
            machine = WorkerMachine(member: member, timing: simulation.scenario.timing, empty: [])
            generation += 1
            handle(.tick, simulation)
        case .refuse(let code, _):
            if code == .incarnation || code == .notWelcomed { machine = nil }  // its next beat joins again
        case .plan(let plan): handle(.plan(plan), simulation)
        case .reply(let shard, let reply): handle(.reply(shard, reply), simulation)
        default: break
        }
    }

    func handle(_ event: WorkerMachine<Words>.Event, _ simulation: Simulation) {
        guard let actions = machine?.handle(event, at: simulation.instant), let machine else { return }
        for action in actions {
            switch action {
            case .send(let shard, let request):
                let endpoint = machine.plan?.shards.first { $0.shard == shard }?.endpoint ?? ""
                if let peer = simulation.endpoints[endpoint] {
                    simulation.send(.request(request), from: node, to: peer)
                }
            case .report(let report):
                simulation.send(.report(machine.member, incarnation: UInt64(node), report), from: node, to: 0)
            case .ask: simulation.send(.ready(machine.member, incarnation: UInt64(node)), from: node, to: 0)
            case .compute(let id, let computation):
                queue.append((id, computation))
                queuedGenerations.append(generation)
                simulation.startComputing(node, queueLength: queue.count)
            case .abandon(let id):
                // The first one is being executed; the others are dropped, but never an install.
                for index in queue.indices.reversed() where index > 0 && queue[index].0 == id {
                    if case .install = queue[index].1 { continue }
                    queue.remove(at: index)
                    queuedGenerations.remove(at: index)
                }
            }
        }
        if simulation.eventCount % 8 == 0 {
            let limit = 4 * simulation.scenario.shards + 1
            simulation.check(machine.payloadCount <= limit, "\(machine.member) holds \(machine.payloadCount) payloads")
        }
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
        handle(.tick, simulation)
    }

    func beat(_ simulation: Simulation) {
        let message: Message =
            machine.map { .heartbeat($0.member, incarnation: UInt64(node), stateStep: nil) }
            ?? .joined(
                .worker, incarnation: UInt64(node), endpoint: "worker \(node)", previousNumber: nil, stateStep: -1)
        simulation.send(message, from: node, to: 0)
    }

    /// The first computation of the queue has taken its time.
    func finishComputation(_ simulation: Simulation) {
        let (id, computation) = queue[0]  // stays first, so that what follows from it queues up behind
        let isOwn = queuedGenerations[0] == generation
        do {
            let result = try shell.execute(computation, id)
            if let result, isOwn { handle(.computed(id, result), simulation) }
        } catch {
            simulation.check(false, error.description)
        }
        queue.removeFirst()
        queuedGenerations.removeFirst()
        if !queue.isEmpty { simulation.startComputing(node, queueLength: 1) }
    }
}
