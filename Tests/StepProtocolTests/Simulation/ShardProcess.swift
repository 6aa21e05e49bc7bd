internal import Cluster
internal import Determinism
internal import StepProtocol

/// A shard-server process of the simulation: machines, their shell and the connection to the coordinator.
final class ShardProcess {
    typealias Machine = ShardMachine<Int, Words>

    /// Executed one after the other.
    enum Work {
        case compute(StepID, ShardComputation<Words>, Plan)
        case give(to: Int, TransferRequest)
        case receive(SliceReceiver<ToyParcel>.Action)
    }

    let node: Int
    let host: ShardHost
    let scenario: Scenario
    /// Made when the coordinator has given a number.
    var machine: Machine?
    var receiver: SliceReceiver<ToyParcel>?
    var shell: ToyShardShell
    var member: MemberID?
    /// Whether this coordinator has answered a greeting.
    var isGreeted = false
    var isDraining = false
    var queue: [Work] = []
    var scheduledTick: Int64?

    init(node: Int, host: ShardHost, scenario: Scenario) throws(Violation) {
        self.node = node
        self.host = host
        self.scenario = scenario
        shell = try ToyShardShell(
            name: "shard-\(host.disk.number ?? -1)", scenario: scenario, disk: host.disk, logs: host.logs,
            syncsAlways: host.syncsAlways)
    }

    var name: String { member.map { "\($0)" } ?? "node \(node)" }
    var incarnation: UInt64 { UInt64(node) }

    func receive(_ message: Message, from peer: Int, _ simulation: Simulation) {
        switch message {
        case .welcome(let welcomed): welcome(welcomed, simulation)
        case .refuse(let code, _):
            if code == .incarnation || code == .notWelcomed { isGreeted = false }
            if code == .stateLost { simulation.restartEmpty(self) }
        case .dismissed(let member):
            if member == self.member { simulation.dismiss(self) }
        case .plan(let plan): follow(plan, simulation)
        case .request(var request, let sender):
            if scenario.sabotage == .takesStaleForCurrent, let current = machine?.current { request.id = current }
            if scenario.sabotage == .appliesRepeatedUpdate, request.phase == .update, request.query == .none,
                machine?.prepared == request.id,
                let plan = machine?.plan
            {
                let repeated = ShardComputation.update(payload: request.payload, learningRate: request.learningRate)
                enqueue(.compute(request.id, repeated, plan), simulation)
            }
            handle(.request(peer, request, from: sender), simulation)
        case .transfer(let request): handle(.transfer(peer, request), simulation)
        case .transferReply(let request, let reply): tellReceiver(.reply(to: request, reply), simulation)
        default: break
        }
    }

    private func welcome(_ welcomed: MemberID, _ simulation: Simulation) {
        if let member, member != welcomed {
            // The coordinator has given this shard up: what it holds is of no use.
            simulation.restartEmpty(self)
            return
        }
        isGreeted = true
        guard machine == nil else { return }
        member = welcomed
        shell.disk.number = welcomed.number
        shell.name = "\(welcomed)"
        save()
        machine = Machine(
            member: welcomed, microBatchCount: scenario.microBatches, committed: shell.committed,
            prepared: shell.prepared,
            lastTask: shell.disk.lastTask, holdings: shell.state(of: host).holdings, transfersPerStep: 2, empty: [])
        receiver = SliceReceiver(
            member: welcomed, completedTask: shell.disk.lastTask,
            handedOver: Set(shell.disk.receipts.keys.map(Toy.name)), window: 3, retryInterval: .milliseconds(400))
    }

    /// What is on the disk survives this process.
    private func save() { host.disk = shell.disk }

    private func follow(_ plan: Plan, _ simulation: Simulation) {
        var plan = plan
        if scenario.sabotage == .followsOldMaps { plan.revision = simulation.eventCount }
        handle(.plan(plan), simulation)
        tellReceiver(.plan(plan), simulation)
        if scenario.sabotage == .handsOverIncompleteCopies, case .task(let task) = plan.activity {
            handle(.copiesComplete(task: task.number), simulation)
        }
    }

    private func enqueue(_ work: Work, _ simulation: Simulation) {
        queue.append(work)
        simulation.startComputing(node, queueLength: queue.count)
    }

    func handle(_ event: Machine.Event, _ simulation: Simulation) {
        guard let actions = machine?.handle(event, at: simulation.instant), let machine, let member else { return }
        for action in actions {
            switch action {
            case .reply(let peer, let reply): simulation.send(.reply(member, reply), from: node, to: peer)
            case .compute(let id, let computation):
                guard let plan = machine.plan else {
                    simulation.check(false, "\(name) computes without a plan")
                    return
                }
                enqueue(.compute(id, computation, plan), simulation)
            case .transfer(let peer, let request): enqueue(.give(to: peer, request), simulation)
            case .acknowledge(let number, let outcome):
                let message = Message.taskDone(member, incarnation: incarnation, number: number, outcome)
                simulation.send(message, from: node, to: 0)
            case .prepared(let id): simulation.send(.prepared(member, incarnation: incarnation, id), from: node, to: 0)
            case .report, .askForPlan: report(simulation)
            }
        }
        let limit = 5 * simulation.largestWorld + 4
        simulation.check(machine.payloadCount <= limit, "\(name) holds \(machine.payloadCount) payloads")
        simulation.check(machine.heldTransferCount <= 32, "\(name) holds \(machine.heldTransferCount) requests")
    }

    private func tellReceiver(_ event: SliceReceiver<ToyParcel>.Event, _ simulation: Simulation) {
        guard let actions = receiver?.handle(event, at: simulation.instant), let receiver else { return }
        for action in actions {
            switch action {
            case .ask(let owner, let request):
                let endpoint = machine?.plan?.shards.first { $0.shard == owner }?.endpoint ?? ""
                if let peer = simulation.endpoints[endpoint] {
                    simulation.send(.transfer(request), from: node, to: peer)
                } else {
                    tellReceiver(.unreachable(owner), simulation)
                }
            case .complete(let task): handle(.copiesComplete(task: task), simulation)
            case .storeChunk, .replay, .drop: enqueue(.receive(action), simulation)
            }
        }
        simulation.check(receiver.inFlightCount <= 3, "\(name) has \(receiver.inFlightCount) transfers in flight")
        guard let deadline = receiver.nextDeadline else { return }
        let time = max(simulation.milliseconds(roundingUp: deadline), simulation.now)
        if let scheduledTick, scheduledTick <= time { return }
        scheduledTick = time
        simulation.scheduleTick(node, at: time)
    }

    func tick(_ simulation: Simulation) {
        guard scheduledTick == simulation.now else { return }
        scheduledTick = nil
        for shard in machine?.plan?.shards ?? [] {
            guard let peer = simulation.endpoints[shard.endpoint], simulation.isMoving(node, peer) else { continue }
            tellReceiver(.moving(shard.shard), simulation)
        }
        tellReceiver(.tick, simulation)
    }

    func beat(_ simulation: Simulation) {
        if !host.syncsAlways, host.diskFullUntil <= simulation.now { shell.disk.sync() }
        save()
        guard let member, machine != nil, isGreeted else {
            tellTerm(simulation)
            let greeting = Message.joined(
                .shard, incarnation: incarnation, endpoint: host.endpoint,
                previousNumber: shell.disk.number ?? member?.number,
                state: shell.state(of: host, newestTask: machine?.newestTask ?? 0).after(
                    commitOf: machine?.committed ?? -1))
            simulation.send(greeting, from: node, to: 0)
            return
        }
        if isDraining { simulation.send(.drain(member, incarnation: incarnation), from: node, to: 0) }
        report(simulation)
    }

    private func report(_ simulation: Simulation) {
        for rank in machine?.plan?.ranks ?? [] {
            guard let worker = simulation.workers.values.first(where: { $0.machine?.member == rank.worker }),
                simulation.isMoving(node, worker.node)
            else { continue }
            handle(.moving(rank.worker), simulation)
        }
        guard let machine, let member, isGreeted else { return }
        let report = ShardReport(
            committed: machine.committed, durable: shell.durable, received: receiver?.received ?? [:],
            obstacle: isStuck(simulation) ? "the disk is full" : "", past: shell.past,
            prepared: machine.prepared ?? .nothing, waiting: machine.waiting(at: simulation.instant))
        tellTerm(simulation)
        simulation.send(.heartbeat(member, incarnation: incarnation, report: report), from: node, to: 0)
    }

    /// The newest term that the process knows goes with its hello and its heartbeats.
    private func tellTerm(_ simulation: Simulation) {
        guard let plan = machine?.plan else { return }
        let message = Message.knows(term: plan.id.term, coordinator: plan.coordinator, from: incarnation)
        simulation.send(message, from: node, to: 0)
    }

    // MARK: Executing

    /// Whether what is executed must write, and there is no room.
    private func isStuck(_ simulation: Simulation) -> Bool {
        guard host.logs, host.diskFullUntil > simulation.now, case .compute(let id, let computation, _)? = queue.first
        else {
            return false
        }
        switch computation {
        case .task: return true
        case .update:
            return !queue.contains {
                if case .compute(id, .rollback, _) = $0 { true } else { false }
            }
        default: return false
        }
    }

    /// The first computation of the queue has taken its time.
    func finishComputation(_ simulation: Simulation) {
        if queue.isEmpty { return }
        if isStuck(simulation) {
            simulation.computeLater(node, after: 200)
            return
        }
        let work = queue[0]  // stays first, so that what follows from it queues up behind
        do {
            switch work {
            case .compute(let id, .task(let task), let plan):
                _ = id
                let outcome = try shell.execute(task, plan: plan, &simulation.world)
                save()
                handle(.taskDone(number: task.number, outcome), simulation)
            case .compute(let id, let computation, let plan):
                let result = try shell.execute(computation, id, plan: plan, &simulation.world)
                save()
                if let result { handle(.computed(id, result), simulation) }
            case .give(let peer, let request):
                let content = try shell.content(request.part, of: Toy.index(request.slice))
                let reply = TransferReply(slice: request.slice, part: request.part, content: content)
                simulation.send(.transferReply(to: request, reply), from: node, to: peer)
            case .receive(let action): try store(action, simulation)
            }
        } catch let refusal as ToyRefusal {
            if case .compute(let id, let computation, _) = work, let task = computation.task {
                handle(.failed(id, task, code: .notFinite, message: refusal.message), simulation)
            }
        } catch {
            simulation.check(false, "\(error)")
        }
        queue.removeFirst()
        if !queue.isEmpty { simulation.startComputing(node, queueLength: 1) }
    }

    private func store(_ action: SliceReceiver<ToyParcel>.Action, _ simulation: Simulation) throws(Violation) {
        switch action {
        case .storeChunk(let slice, let index, _, let step, .row(let word)):
            shell.store(
                Toy.index(slice), index: index, step: step, word, classVersion: machine?.plan?.classVersion ?? 0)
            tellReceiver(.stored(slice, .chunk(index)), simulation)
        case .replay(let slice, let step, _, .record(let record)):
            try shell.replay(record, on: Toy.index(slice))
            tellReceiver(.stored(slice, .record(after: step - 1)), simulation)
        case .drop(let slice): shell.drop(Toy.index(slice))
        default: simulation.check(false, "\(name) was given a parcel of the wrong kind")
        }
        save()
    }

    /// What a process that is killed leaves of the update that it is executing.
    func die(_ simulation: Simulation) {
        if case .compute(let id, .update(let payload, let rate), _)? = queue.first, simulation.random.below(3) > 0 {
            let isTorn = simulation.random.below(2) == 0
            shell.dieWhileUpdating(id, norm: payload.first ?? 0, learningRate: rate, isTorn: isTorn)
        }
        save()
    }
}

extension ShardComputation {
    fileprivate var task: ShardTask? {
        switch self {
        case .sample: .sample
        case .forward(let rank, _): .forward(rank: rank)
        case .backward: .backward
        case .dense: .dense
        case .update: .update
        case .parameters(let rank): .parameters(rank: rank)
        case .rollback, .commit, .task, .own: nil
        }
    }
}

/// A machine with a disk, on which shard-server processes run one after the other.
final class ShardHost {
    let index: Int
    let logs: Bool
    let syncsAlways: Bool
    var disk = ToyDisk()
    var diskFullUntil: Int64 = 0
    /// Whether a record that was committed may be gone.
    var hasLost = false
    /// Whether its disk is a copy of another's.
    var isCopy = false
    /// Whether the disk was replaced by an empty one.
    var isReplaced = false

    init(index: Int, logs: Bool, syncsAlways: Bool) {
        self.index = index
        self.logs = logs
        self.syncsAlways = syncsAlways
    }

    var endpoint: String { "host-\(index)" }
}
