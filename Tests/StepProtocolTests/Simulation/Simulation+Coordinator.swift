internal import Cluster
internal import Determinism
internal import StepProtocol

/// The shell of the coordinator: messages, decisions, checkpoints.
extension Simulation {
    func startCoordinator() {
        guard coordinator == nil else { return }
        note(
            "the coordinator starts with "
                + (database.record.map { "term \($0.term), committed \($0.committed), map \($0.mapVersion)" }
                    ?? "nothing"))
        coordinatorStarts += 1
        let process = CoordinatorProcess(scenario.coordinator, database.record, incarnation: coordinatorStarts)
        coordinator = process
        if isDatabaseLost {
            let configuration = scenario.coordinator
            process.adoption = Adoption(
                sliceCount: configuration.sliceCount, denseSliceCount: configuration.denseSliceCount,
                patience: scenario.secondCopies ? configuration.lease + configuration.promoteAfter : nil)
            return
        }
        world.term = 0
        setOracle()
        isFinished = false
        execute(process.machine.start(at: instant), attempted: process.machine.id)
    }

    func stopCoordinator() {
        coordinator = nil
        stopped[0] = nil
    }

    func deliverToCoordinator(_ message: Message, from sender: Int, _ start: UInt64) {
        if shards[sender] == nil && workers[sender] == nil { return }  // a connection dies with its process
        if isForFormer(start) { return tellFormer(message, from: sender, start) }
        guard let coordinator else { return }
        let peer = PeerID(process: sender)
        if coordinator.adoption != nil { return adopt(message, from: sender) }
        if case .joined(
            let role, let incarnation, let endpoint, let number, let state, let place, let replaces, let writes,
            let hello, let job) = message
        {
            coordinator.greeted.insert(sender)
            coordinator.hellos[sender] = hello
            tellCoordinator(
                .joined(
                    peer, role: role, incarnation: incarnation, endpoint: endpoint, previousNumber: number,
                    state: state, place: place, replaces: replaces, writesResults: writes, job: job))
            return
        }
        if case .knows(let term, let begun, let incarnation) = message {
            tellCoordinator(.knows(term: term, coordinator: begun, from: incarnation))
            return
        }
        guard coordinator.greeted.contains(sender) else {
            send(.refuse(.notWelcomed, "say hello first"), from: 0, to: sender)
            return
        }
        switch message {
        case .heartbeat(let member, let incarnation, let report, let activity):
            giveCopy(to: sender, member, incarnation)
            tellCoordinator(
                .heartbeat(peer, member, incarnation: incarnation, report: report, activity: activity))
        case .prepared(let member, let incarnation, let id):
            tellCoordinator(.prepared(peer, member, incarnation: incarnation, id))
        case .readClasses:
            let version = coordinator.machine.classVersion
            let operations = coordinator.machine.record.operations.prefix(version).map(\.operation)
            send(.classes(version: version, operations), from: 0, to: sender)
        case .left(let member, let incarnation): tellCoordinator(.left(member, incarnation: incarnation))
        case .drain(let member, _): answer(.drain(member), sender)
        case .stay(let member, _): answer(.undrain(member), sender)
        case .ready(let member, let incarnation): tellCoordinator(.ready(peer, member, incarnation: incarnation))
        case .report(let member, let incarnation, .done(let result)):
            if losesItsReport(sender) { return }
            tellCoordinator(.stepDone(peer, member, incarnation: incarnation, result))
        case .report(let member, let incarnation, .failed(let id, let code, let message, let shard)):
            tellCoordinator(
                .stepFailed(peer, member, incarnation: incarnation, id, code: code, message: message, by: shard))
        case .report(let member, let incarnation, .results(let id, let problem)):
            tellCoordinator(.resultsWritten(peer, member, incarnation: incarnation, id, problem: problem))
        case .taskDone(let member, let incarnation, let number, let outcome):
            tellCoordinator(.taskDone(peer, member, incarnation: incarnation, number: number, outcome))
        default: break
        }
    }

    /// A shard wishes something.
    private func answer(_ wish: CoordinatorMachine.Event, _ sender: Int) {
        isRefused = false
        tellCoordinator(wish)
        send(.answered(isAccepted: !isRefused), from: 0, to: sender)
    }

    func tellCoordinator(_ event: CoordinatorMachine.Event) {
        guard let coordinator else { return }
        let before = coordinator.machine.id
        execute(coordinator.machine.handle(event, at: instant), attempted: before)
        if let flaw = coordinator.machine.check() { check(false, "the coordinator: \(flaw)") }
        guard let deadline = coordinator.machine.nextDeadline else { return }
        let time = max(milliseconds(roundingUp: deadline), now)
        if let scheduled = coordinator.scheduledTick, scheduled <= time { return }
        coordinator.scheduledTick = time
        queue.insert(.tick(0), at: time)
    }

    private func execute(_ actions: [CoordinatorMachine.Action], attempted: StepID) {
        for action in actions {
            switch action {
            case .persist(let decision): write(decision)
            case .welcome(let peer, let member):
                let hello = coordinator?.hellos[peer.process] ?? 0
                send(.welcome(member, hello: hello), from: 0, to: peer.process)
            case .refuse(let peer, let code, let message): send(.refuse(code, message), from: 0, to: peer.process)
            case .send(_, let peer, let plan):
                largestWorld = max(largestWorld, plan.ranks.count)
                if plan.activity == .train, let job = plan.job { world.jobOfTerm[plan.id.term] = job.id }
                send(.plan(plan), from: 0, to: peer.process)
            case .committed(let report): checkCommit(report, attempted: attempted)
            case .event(_, let text):
                note("coordinator: \(text)")
                if text.contains("no worker has reached") { feats["replaced without workers", default: 0] += 1 }
            case .dismiss(let peer, let member): send(.dismissed(member), from: 0, to: peer.process)
            case .writeCheckpoint(let number, let checkpoint, _):
                feats["checkpoint", default: 0] += 1
                let flaw = world.flaw(checkpoint.partialDirectory, step: checkpoint.step)
                check(flaw == nil, "a checkpoint is not whole: \(flaw ?? "")")
                world.rename(checkpoint.partialDirectory, checkpoint.directory)
                if scenario.variesInputs {
                    world.note(attempts: world.oracle.attempts(upTo: checkpoint.step), in: checkpoint.directory)
                }
                queue.insert(
                    .manifest(number: number), at: now + 1 + Int64(random.below(200)))
            case .deleteCheckpoint(let checkpoint): world.delete(checkpoint.directory)
            case .abandonCheckpoint(let checkpoint):
                feats["checkpoint abandoned", default: 0] += 1
                world.rename(checkpoint.directory, checkpoint.directory + " abandoned")
            case .finished:
                isFinished = true
                checkFinished()
                if scenario.losesPowerAtTheEnd, !hasLostPowerAtTheEnd {
                    hasLostPowerAtTheEnd = true
                    queue.insert(.powerCutAtTheEnd, at: now)
                }
            case .failed(let reason): failure = reason
            case .refuseOperator(let message):
                isRefused = true
                note("refused: \(message)")
            }
        }
    }

    private func write(_ decision: CoordinatorRecord.Decision) {
        // Traces of one seed are the same, dictionaries are not.
        func list(_ shards: [SliceName: Int]) -> [String] {
            shards.sorted { $0.key < $1.key }.map { "\($0.key) at \($0.value)" }
        }
        switch decision {
        case .map(let version, let owners): note("DECISION map \(version) \(list(owners))")
        case .keepers(let keepers): note("DECISION keepers \(list(keepers))")
        default: note("DECISION \(decision)")
        }
        switch decision {
        case .term(let term, let committed):
            let old = database.record
            check(term > old?.term ?? -1, "term \(term) begins after \(old?.term ?? -1)")
            check(
                committed >= old?.committed ?? -1 || hasLostSteps || isTakenOver || scenario.durability != .steps,
                "the cluster goes back from step \(old?.committed ?? -1) to \(committed), and nothing was lost")
            // A record that was put back may begin behind it, but nothing may be done again from there (`checkCommit`).
            check(
                committed >= floor || committed >= old?.committed ?? -1 || scenario.durability != .steps,
                "the cluster goes back to \(committed), behind the task after step \(floor)")
            isTakenOver = false
            if committed < old?.committed ?? -1 { feats["gone back", default: 0] += 1 }
            if committed > old?.committed ?? -1 { observeAttempts((old?.committed ?? -1) + 1...committed) }
            world.term = term
            isFinished = false
        case .member(let member, let known):
            // A shard counts as dead when its lease is over. One that was only cut off from the others is given up if it keeps nothing, or
            // if a copy of its directory takes its place.
            guard let old = database.record?.members[member]?.incarnation, old != known.incarnation else { break }
            let isCopy = shards.values.contains { $0.incarnation == known.incarnation && $0.host.isCopy }
            if isCopy || shards.values.contains(where: { $0.incarnation == old && !$0.host.logs }) {
                hasLostSteps = true
            }
        case .jobs(let history): noteTakeover(history)
        case .committed(let id):
            let last = database.record?.committed ?? -1
            check(id.step == last + 1, "step \(id.step) is committed after \(last)")
        case .map(let version, let owners):
            if version > 1 { feats["slices moved", default: 0] += 1 }
            // The map of a hand-over and that of other classes: every shard has made durable what was before it.
            switch database.record?.task?.kind {
            case .handOver where !isOrderedBack, .classes where !isOrderedBack:
                floor = max(floor, database.record?.committed ?? -1)
            default: break
            }
            check(owners.count == scenario.sliceCount, "\(owners.count) of \(scenario.sliceCount) slices have an owner")
        case .task(let task?):
            switch task.kind {
            case .skip: feats["step skipped", default: 0] += 1
            case .restore(nil): feats["restored from logs", default: 0] += 1
            case .restore(let directory?):
                feats["restored from a checkpoint", default: 0] += 1
                if let attempts = world.attempts(in: directory) { world.oracle.set(attempts: attempts) }
            default: break
            }
        default: break
        }
        previousDatabase = database
        recordNumber += 1
        database.write(decision, forgettingAttempts: scenario.sabotage == .forgetsWhichAttempt)
        if case .rates = decision {
            feats["learning rate set", default: 0] += 1
            let old = previousDatabase.record?.rates ?? []
            for step in 0..<max(0, (database.record?.committed ?? -1) + 1) {
                check(
                    old.rule(of: step) == database.record?.rates.rule(of: step),
                    "the rate of step \(step) is changed, which is committed")
            }
            setOracle()
        }
        if case .head = decision {
            feats["values of the head set", default: 0] += 1
            let (old, new) = (previousDatabase.record?.headChanges ?? [], database.record?.headChanges ?? [])
            for step in 0..<max(0, (database.record?.committed ?? -1) + 1) {
                check(
                    old.values(of: step, scheduled: Toy.head(step)) == new.values(of: step, scheduled: Toy.head(step)),
                    "the values of the head of step \(step) are changed, which is committed")
            }
            setOracle()
        }
        if case .operations = decision {
            feats["classes changed", default: 0] += 1
            setOracle()
        }
    }

    /// The undisturbed run has the class changes where this run has them.
    private func setOracle() {
        let record = database.record ?? CoordinatorRecord()
        let applied = record.operations.prefix(record.classVersion)
        world.oracle.set(applied.compactMap { change in change.afterStep.map { ($0, change.operation) } })
        world.oracle.set(
            rates: record.rates.compactMap { change in
                guard let step = change.fromStep else { return nil }
                if case .scaled(let factor) = change.rule { return (step, factor) }
                return (step, 1)
            })
        world.oracle.set(heads: record.headChanges.filter { $0.fromStep != nil })
    }
}
