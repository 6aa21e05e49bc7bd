internal import Cluster
internal import Determinism
internal import StepProtocol

/// A shard-server process of the simulation: its session, a toy model and the connection to the coordinator.
final class ShardProcess {
    typealias Session = ShardSession<Int, Words, ToyParcel>

    /// Executed one after the other.
    enum Work {
        case prepare
        case compute(StepID, ShardComputation<Words>, Plan)
        case give(to: Int, TransferRequest)
        case receive(Session.Receiver.Action)
        case keep(Session.Keeper.Action)
        case adopt([ClassOperation])
        case giveUp
    }

    let node: Int
    let host: ShardHost
    let scenario: Scenario
    /// What the shard decides: the real one.
    var session: Session
    /// What its hellos say.
    var introduction: Session.Introduction
    var shell: ToyShardShell
    /// Whether this coordinator has answered a greeting.
    var isGreeted = false
    /// The hellos said since it began to greet, and all of them.
    var hellos: Set<Int> = []
    var helloCount = 0
    /// Whether the coordinator has said that it may go.
    var isDismissed = false
    /// The operations on the classes that the coordinator has told.
    var toldClasses: [ClassOperation] = []
    var queue: [Work] = []
    var scheduledTick: Int64?

    init(node: Int, host: ShardHost, scenario: Scenario) throws(Violation) {
        self.node = node
        self.host = host
        self.scenario = scenario
        shell = try ToyShardShell(
            name: "shard-\(host.disk.number ?? -1)", scenario: scenario, disk: host.disk, logs: host.logs,
            syncsAlways: host.syncsAlways)
        let state = shell.state(of: host)
        let directory = Session.Directory(
            holdsSlices: state.hasSlices, ownsSlices: !host.disk.owned.isEmpty, isGoing: host.disk.isGoing)
        introduction = .init(previousNumber: host.disk.number, state: state)
        session = Session(
            introduction, directory: host.logs ? directory : nil,
            timing: .init(transfersPerStep: 2, window: 3, retryInterval: .milliseconds(400)), empty: [])
    }

    var machine: Session.Machine? { session.machine }
    var member: MemberID? { session.member }
    var name: String { member.map { "\($0)" } ?? "node \(node)" }
    var incarnation: UInt64 { UInt64(node) }

    func receive(_ message: Message, from peer: Int, _ simulation: Simulation) {
        switch message {
        case .welcome(let welcomed, let hello):
            // As a connection does: it takes an answer to what it says now.
            guard !isGreeted, hellos.contains(hello) else { return }
            isGreeted = true
            tell(.welcomed(cluster: "simulated", welcomed), simulation)
        case .refuse(.stateLost, let text): if !isGreeted { tell(.turnedAway(.stateLost, message: text), simulation) }
        case .refuse(let code, _): tell(.refused(code), simulation)
        case .dismissed(let dismissed):
            guard dismissed == member else { return }
            isDismissed = true
            tell(.refused(.drained), simulation)
        case .answered(let isAccepted): tell(.answered(isAccepted: isAccepted, text: ""), simulation)
        case .classes(let version, let operations):
            toldClasses = operations
            tell(.classes(version: version), simulation)
        case .plan(let plan): hear(plan, simulation)
        case .request(var request, let sender):
            if scenario.sabotage == .takesStaleForCurrent, let current = machine?.current { request.id = current }
            if scenario.sabotage == .appliesRepeatedUpdate, request.phase == .update, request.query == .none,
                machine?.prepared == request.id,
                let plan = machine?.plan
            {
                let repeated = ShardComputation.update(payload: request.payload, learningRate: request.learningRate)
                enqueue(.compute(request.id, repeated, plan), simulation)
            }
            tell(.step(.request(peer, request, from: sender)), simulation)
        case .transfer(let request): tell(.step(.transfer(peer, request)), simulation)
        case .transferReply(let request, let reply): tell(.reply(to: request, reply), simulation)
        default: break
        }
    }

    private func hear(_ plan: Plan, _ simulation: Simulation) {
        var plan = plan
        if scenario.sabotage == .followsOldMaps { plan.revision = simulation.eventCount }
        tellWhatIsHeld(simulation)
        tell(.plan(plan), simulation)
        if scenario.sabotage == .handsOverIncompleteCopies, case .task(let task) = plan.activity {
            tell(.step(.copiesComplete(task: task.number)), simulation)
        }
    }

    func tell(_ event: Session.Event, _ simulation: Simulation) {
        for action in session.handle(event, at: simulation.instant) { carryOut(action, simulation) }
        guard let machine else { return }
        let limit = 5 * simulation.largestWorld + 4
        simulation.check(machine.payloadCount <= limit, "\(name) holds \(machine.payloadCount) payloads")
        simulation.check(machine.heldTransferCount <= 32, "\(name) holds \(machine.heldTransferCount) requests")
        let inFlight = session.receiver?.inFlightCount ?? 0
        simulation.check(inFlight <= 3, "\(name) has \(inFlight) transfers in flight")
        scheduleTick(simulation)
    }

    private func tellWhatIsHeld(_ simulation: Simulation) {
        tell(.keep(.snapshots(oldest: shell.disk.oldestSnapshot)), simulation)
        tell(.holds(shell.state(of: host), classVersion: shell.classVersion), simulation)
    }

    private func carryOut(_ action: Session.Action, _ simulation: Simulation) {
        switch action {
        case .step(let action): carryOut(action, simulation)
        case .copy(.ask(let owner, let request)), .keep(.ask(let owner, let request)):
            let endpoint = machine?.plan?.shards.first { $0.shard == owner }?.endpoint ?? ""
            if let peer = simulation.endpoints[endpoint] {
                simulation.send(.transfer(request), from: node, to: peer)
            } else {
                tell(.unreachable(owner), simulation)
            }
        case .copy(let action): enqueue(.receive(action), simulation)
        case .keep(let action): enqueue(.keep(action), simulation)
        case .greet:
            if scenario.sabotage == .shardDoesNotJoinAgain { return }
            (isGreeted, hellos) = (false, [])  // its next beat joins again
        case .introduce: if scenario.sabotage != .saysWhatItBeganWith { introduction = session.introduction }
        case .follow, .say: break
        case .prepare:
            adopt(session.member)
            enqueue(.prepare, simulation)
        case .rename(let member): adopt(member)
        case .beat: report(simulation)
        case .askForClasses: simulation.send(.readClasses, from: node, to: 0)
        case .adoptClasses:
            if scenario.sabotage == .adoptsNoClasses {
                tell(.holds(shell.state(of: host), classVersion: toldClasses.count), simulation)
                return tell(.classesAdopted, simulation)
            }
            enqueue(.adopt(toldClasses), simulation)
        case .askToDrain(let member):
            simulation.send(.drain(member, incarnation: incarnation), from: node, to: 0)
        case .askToStay(let member):
            simulation.send(.stay(member, incarnation: incarnation), from: node, to: 0)
        case .note(let isGoing):
            shell.disk.isGoing = isGoing
            save()
        case .giveUp: enqueue(.giveUp, simulation)
        case .leave(let member, _, _): simulation.send(.left(member, incarnation: incarnation), from: node, to: 0)
        case .end(let code): simulation.end(self, code)
        }
    }

    private func carryOut(_ action: Session.Machine.Action, _ simulation: Simulation) {
        guard let machine, let member else { return }
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

    private func adopt(_ member: MemberID?) {
        shell.disk.number = member?.number
        shell.name = name
        save()
    }

    /// What is on the disk survives this process.
    private func save() { host.disk = shell.disk }

    private func enqueue(_ work: Work, _ simulation: Simulation) {
        queue.append(work)
        simulation.startComputing(node, queueLength: queue.count)
    }

    private func scheduleTick(_ simulation: Simulation) {
        guard let deadline = session.nextDeadline else { return }
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
            tell(.moving(shard.shard), simulation)
        }
        tell(.tick, simulation)
    }

    func beat(_ simulation: Simulation) {
        if !host.syncsAlways, host.diskFullUntil <= simulation.now { shell.disk.sync() }
        save()
        tellWhatIsHeld(simulation)
        if isGreeted { return report(simulation) }
        tellTerm(simulation)
        helloCount += 1
        hellos.insert(helloCount)
        let greeting = Message.joined(
            .shard, incarnation: incarnation, endpoint: host.endpoint, previousNumber: introduction.previousNumber,
            state: introduction.state, hello: helloCount)
        simulation.send(greeting, from: node, to: 0)
    }

    private func report(_ simulation: Simulation) {
        for rank in machine?.plan?.ranks ?? [] {
            guard let worker = simulation.workers.values.first(where: { $0.machine?.member == rank.worker }),
                simulation.isMoving(node, worker.node)
            else { continue }
            tell(.step(.moving(rank.worker)), simulation)
        }
        tellWhatIsHeld(simulation)
        guard let member, isGreeted else { return }
        let obstacle = isStuck(simulation) ? "the disk is full" : ""
        let report = session.report(durable: shell.durable, obstacle: obstacle, at: simulation.instant)
        tellTerm(simulation)
        simulation.send(.heartbeat(member, incarnation: incarnation, report: report), from: node, to: 0)
    }

    /// The newest term that the process knows goes with its hello and its heartbeats.
    private func tellTerm(_ simulation: Simulation) {
        let (term, coordinator) = (session.introduction.term, session.introduction.coordinator)
        if term == 0 { return }
        simulation.send(.knows(term: term, coordinator: coordinator, from: incarnation), from: node, to: 0)
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
            case .prepare:
                let prepared = Session.Prepared(
                    microBatchCount: scenario.microBatches, committed: shell.committed, prepared: shell.prepared,
                    lastTask: shell.disk.lastTask, handedOver: Set(shell.disk.receipts.keys.map(Toy.name)),
                    kept: shell.keptCopies)
                tellWhatIsHeld(simulation)
                tell(.prepared(prepared), simulation)
            case .compute(_, .task(let task), let plan):
                let outcome = try shell.execute(task, plan: plan, &simulation.world)
                noteApplied(task, outcome)
                save()
                tellWhatIsHeld(simulation)
                tell(.step(.taskDone(number: task.number, outcome)), simulation)
            case .compute(let id, let computation, let plan):
                let result = try shell.execute(computation, id, plan: plan, &simulation.world)
                save()
                tellWhatIsHeld(simulation)
                if let result { tell(.step(.computed(id, result)), simulation) }
            case .give(let peer, let request):
                // Others have yet to do what the classes have seen here: it is asked for again.
                guard shell.classVersion == machine?.plan?.classVersion else { break }
                let content = try shell.content(request.part, of: Toy.index(request.slice))
                let reply = TransferReply(slice: request.slice, part: request.part, content: content)
                simulation.send(.transferReply(to: request, reply), from: node, to: peer)
            case .receive(let action): try store(action, simulation)
            case .keep(let action): try keep(action, simulation)
            case .adopt(let operations):
                shell.adopt(operations)
                tellWhatIsHeld(simulation)
                tell(.classesAdopted, simulation)
            case .giveUp:
                shell = try shell.emptied()
                save()
                tellWhatIsHeld(simulation)
                tell(.gaveUp(problem: nil), simulation)
            }
        } catch let refusal as ToyRefusal {
            if case .compute(let id, let computation, _) = work, let task = computation.task {
                tell(.step(.failed(id, task, code: .notFinite, message: refusal.message)), simulation)
            }
        } catch {
            simulation.check(false, "\(error)")
        }
        queue.removeFirst()
        if !queue.isEmpty { simulation.startComputing(node, queueLength: 1) }
    }

    /// What the coordinator's next copy of its record will have.
    private func noteApplied(_ task: BoundaryTask, _ outcome: TaskOutcome) {
        guard case .classes(let operation) = task.kind, case .done = outcome else { return }
        host.applied.removeAll { $0.version >= shell.classVersion }
        host.applied.append(.init(version: shell.classVersion, step: task.step, operation: operation))
    }

    /// What the hello says to a coordinator that has lost its database.
    var claim: Adoption.Claim? {
        guard let number = introduction.previousNumber else { return nil }
        return .init(
            cluster: "simulated", number: number, term: introduction.term, state: introduction.state,
            copy: host.recordCopy, applied: host.applied)
    }

    private func store(_ action: Session.Receiver.Action, _ simulation: Simulation) throws(Violation) {
        switch action {
        case .storeChunk(let slice, let index, _, let step, .row(let word)):
            let plan = machine?.plan
            let version = plan?.classVersion ?? 0
            let operations = simulation.database.record?.operations.prefix(version).map(\.operation)
            try shell.store(
                Toy.index(slice), index: index, step: step, word, classVersion: version,
                operations: plan?.id.term == simulation.world.term ? operations : nil)
            tell(.copy(.stored(slice, .chunk(index))), simulation)
        case .replay(let slice, let after, _, _, .record(let record)):
            try shell.replay(record, on: Toy.index(slice))
            tell(.copy(.stored(slice, .record(after: after))), simulation)
        case .drop(let slice): shell.drop(Toy.index(slice))
        default: simulation.check(false, "\(name) was given a parcel of the wrong kind")
        }
        save()
    }

    private func keep(_ action: Session.Keeper.Action, _ simulation: Simulation) throws(Violation) {
        switch action {
        case .storeChunk(let slice, let index, _, let step, .row(let word)):
            let version = machine?.plan?.classVersion ?? 0
            shell.keepChunk(Toy.index(slice), index: index, step: step, word, classVersion: version)
            tell(.keep(.stored(slice, index: index)), simulation)
        case .install(let slice):
            // It may have been given up meanwhile.
            guard shell.making[Toy.index(slice)] != nil else { break }
            guard shell.reachesBackToCopy(of: Toy.index(slice)) else {
                shell.making[Toy.index(slice)] = nil
                return tell(.keep(.failed(slice)), simulation)
            }
            try shell.install(Toy.index(slice))
            simulation.feats["copy kept", default: 0] += 1
            save()
            tell(.keep(.installed(slice)), simulation)
        case .discard(let slice): shell.making[Toy.index(slice)] = nil
        case .drop(let slice): shell.disk.kept[Toy.index(slice)] = nil
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
        case .forward(let rank, _, _): .forward(rank: rank)
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
    /// The newest copy of the coordinator's record that came here, and the operations on the classes that were done since.
    var recordCopy: Adoption.Copy?
    var applied: [Adoption.Applied] = []

    init(index: Int, logs: Bool, syncsAlways: Bool) {
        self.index = index
        self.logs = logs
        self.syncsAlways = syncsAlways
    }

    var endpoint: String { "host-\(index)" }
}
