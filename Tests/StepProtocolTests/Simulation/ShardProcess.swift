internal import StepProtocol

/// A shard-server process of the simulation: a machine, its shell and its connection to the coordinator.
final class ShardProcess {
    let node: Int
    let slot: Int
    let scenario: Scenario
    var machine: ShardMachine<Int, Words>
    /// Made when the coordinator has given a number, which it keeps.
    var shell: ToyShardShell?
    var number: Int?
    var member: MemberID?
    var queue: [(StepID, ShardComputation<Words>)] = []

    init(node: Int, slot: Int, scenario: Scenario) {
        self.node = node
        self.slot = slot
        self.scenario = scenario
        machine = ShardMachine(microBatchCount: scenario.microBatches, empty: [])
    }

    var name: String { "shard-\(number ?? -1)" }
    var endpoint: String { "slot-\(slot)" }

    func receive(_ message: Message, from peer: Int, _ simulation: Simulation) {
        switch message {
        case .welcome(let welcomed):
            simulation.check(number == nil || number == welcomed.number, "\(name) is welcomed as \(welcomed)")
            member = welcomed
            if shell == nil {
                number = welcomed.number
                shell = ToyShardShell(
                    shard: welcomed.number, microBatches: scenario.microBatches, sabotage: scenario.sabotage)
            }
        case .refuse(let code, _): if code == .incarnation || code == .notWelcomed { member = nil }
        case .plan(let plan):
            if shell != nil { handle(.plan(plan), simulation) }
        case .request(let request):
            if scenario.sabotage == .appliesRepeatedUpdate, request.phase == .update, machine.prepared == request.id {
                queue.append((request.id, .update(payload: request.payload, learningRate: request.learningRate)))
                simulation.startComputing(node, queueLength: queue.count)
            }
            handle(.request(peer, request), simulation)
        default: break
        }
    }

    func handle(_ event: ShardMachine<Int, Words>.Event, _ simulation: Simulation) {
        for action in machine.handle(event, at: simulation.instant) {
            switch action {
            case .reply(let peer, let reply):
                simulation.send(.reply(MemberID(.shard, number ?? -1), reply), from: node, to: peer)
            case .compute(let id, let computation):
                queue.append((id, computation))
                simulation.startComputing(node, queueLength: queue.count)
            }
        }
        if simulation.eventCount % 8 == 0 {
            let limit = 5 * simulation.largestWorld + 4
            simulation.check(machine.payloadCount <= limit, "\(name) holds \(machine.payloadCount) payloads")
        }
    }

    func beat(_ simulation: Simulation) {
        let message: Message =
            member.map { .heartbeat($0, incarnation: UInt64(node), stateStep: machine.committed) }
            ?? .joined(
                .shard, incarnation: UInt64(node), endpoint: endpoint, previousNumber: nil,
                stateStep: machine.committed)
        simulation.send(message, from: node, to: 0)
    }

    /// The first computation of the queue has taken its time.
    func finishComputation(_ simulation: Simulation) {
        let (id, computation) = queue[0]  // stays first, so that what follows from it queues up behind
        do {
            if let result = try shell?.execute(computation, id, simulation.oracle) {
                handle(.computed(id, result), simulation)
            }
        } catch {
            simulation.check(false, error.description)
        }
        queue.removeFirst()
        if !queue.isEmpty { simulation.startComputing(node, queueLength: 1) }
    }
}
