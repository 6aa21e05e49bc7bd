internal import Cluster
internal import Determinism
internal import StepProtocol

/// What happens to the processes, hosts and links until calm is restored.
extension Simulation {
    /// One value of the head, or two.
    private func setHead() {
        happen("the operator sets values of the head", nil)
        let orders = [
            "sample_rate=0.5", "sample_rate=schedule", "m2=0.25", "m2=schedule scale=32", "scale=schedule m1=2",
        ]
        if let order = try? HeadOrder(orders[Int(random.below(UInt64(orders.count)))]) { tellCoordinator(.head(order)) }
    }

    func misfortune() {
        if isCalm { return }
        queue.insert(.misfortune, at: now + 1 + Int64(random.below(UInt64(2 * scenario.faultInterval))))
        let someWorker = pick(workers.keys.sorted())
        let someShard = pick(shards.keys.sorted())
        switch random.below(29) {
        case 0, 1:
            guard let someWorker else { return }
            happen("worker dies", someWorker)
            workers[someWorker] = nil
            stopped[someWorker] = nil
        case 2, 3:
            guard workers.count < 6 else { return }
            happen("worker starts", nextNode)
            startWorker()
        case 4:
            guard let someWorker, let machine = workers[someWorker]?.machine else { return }
            happen("worker leaves", someWorker)
            send(.left(machine.member, incarnation: UInt64(someWorker)), from: someWorker, to: 0)
            workers[someWorker] = nil
            stopped[someWorker] = nil
        case 5:
            happen("worker loses the coordinator", someWorker)
            cut(0, someWorker)
        case 6:
            happen("shard loses the coordinator", someShard)
            cut(0, someShard)
        case 7:
            happen("shard loses everyone", someShard)
            cut(-1, someShard)
        case 8:
            happen("worker loses a shard", someWorker)
            cut(someWorker, someShard)
        case 9, 10:
            guard let someShard else { return }
            happen("shard is killed", someShard)
            kill(someShard)
        case 11:
            guard scenario.hasPowerCuts, let someShard else { return }
            happen("shard's host loses power", someShard)
            cutPower(someShard)
        case 12:
            happen("coordinator is killed", 0)
            killCoordinator()
        case 13:
            guard scenario.hasPowerCuts else { return }
            happen("coordinator's host loses power", 0)
            killCoordinator()
            if database.losePower(&random) { hasLostSteps = true }
        case 14:
            happen("everything is killed", nil)
            for node in shards.keys.sorted() { kill(node) }
            for node in workers.keys { (workers[node], stopped[node]) = (nil, nil) }
            if scenario.hasJobs { jobs = [] }
            startWorkers()
            killCoordinator()
        case 15:
            guard scenario.hasPowerCuts else { return }
            happen("everything loses power", nil)
            for node in shards.keys.sorted() { cutPower(node) }
            killCoordinator()
            if database.losePower(&random) { hasLostSteps = true }
        case 16: stop("worker is stopped for a while", someWorker)
        case 17: stop("shard is stopped for a while", someShard)
        case 18: stop("coordinator is stopped for a while", coordinator == nil ? nil : 0)
        case 19:
            guard let someShard, let host = shards[someShard]?.host else { return }
            happen("disk is full", someShard)
            host.diskFullUntil = now + Int64(random.below(5_000))
        case 20:
            guard scenario.losesDisks, !hosts.values.contains(where: \.isReplaced), let someShard,
                let host = shards[someShard]?.host
            else { return }
            happen("disk is lost", someShard)
            kill(someShard)
            let number = host.disk.number
            host.disk = ToyDisk()
            host.disk.number = number
            host.isReplaced = true
            hasLostSteps = true
        case 21:
            guard scenario.isElastic, hosts.count < Scenario.largestShardCount else { return }
            happen("shard joins", nextNode)
            addHost()
        case 22:
            guard scenario.isElastic, let someShard, let shard = shards[someShard], let member = shard.member else {
                return
            }
            happen("shard is drained", someShard)
            // What is only in a memory is nobody's to end.
            if random.below(2) == 0, shard.host.logs {
                shard.tell(.stop(reason: "SIGTERM", mayDrain: shard.isGreeted), self)
            } else {
                tellCoordinator(.drain(member))
            }
        case 23:
            guard scenario.isElastic else { return }
            happen("the operator rebalances", nil)
            tellCoordinator(.rebalance)
        case 24:
            guard scenario.changesClasses else { return }
            happen("the operator changes classes", nil)
            let operations: [ClassOperation] = [
                .add(count: 1 + Int(random.below(9)), path: ""), .retire([Int(random.below(9))]),
                .merge(from: 1, into: 2), .add(count: 2, path: "readable"), .add(count: 3, path: "unreadable"),
                .add(count: 4, path: "removed"),
            ]
            tellCoordinator(.classes(operations[Int(random.below(6))]))
        case 25, 26:
            guard scenario.changesRates else { return }
            if random.below(2) == 0 { return setHead() }
            happen("the operator sets the learning rate", nil)
            let factor = Float(random.below(8)) / 4
            tellCoordinator(.learningRate(factor == 1 ? .schedule : .scaled(factor)))
        case 27:
            // Results that are given up are none: not while they are written.
            if case .finishing? = coordinator?.machine.activity { return }
            happen("the operator calls off what is under way", nil)
            callOff()
        default:
            happen("the operator pauses or takes a checkpoint", nil)
            switch random.below(3) {
            case 0: tellCoordinator(.pause)
            case 1: tellCoordinator(.checkpoint)
            default: tellCoordinator(.resume)
            }
        }
    }

    /// Whether a worker dies with the report that every shard has prepared the attempt: they keep records of one that is not committed.
    func losesItsReport(_ node: Int) -> Bool {
        guard scenario.losesPowerAfterRetries, !isCalm, retryRandom.below(6) == 0 else { return false }
        happen("worker dies with its report", node)
        (workers[node], stopped[node]) = (nil, nil)
        startWorker()
        return true
    }

    /// Everyone who knows which attempt of the last step was committed is gone, but for what is written.
    func blackOut() {
        if isCalm || coordinator == nil { return }
        happen("power is lost after a retry", nil)
        for node in shards.keys.sorted() { cutPower(node) }
        killCoordinator()
        if retryRandom.below(3) == 0, database.losePower(&retryRandom) { hasLostSteps = true }
    }

    private func callOff() {
        if case .classes? = coordinator?.machine.record.task?.kind { feats["classes called off", default: 0] += 1 }
        // Shards that log nothing go back to a checkpoint then.
        if hosts.values.contains(where: { !$0.logs }) { hasLostSteps = true }
        tellCoordinator(.cancel)
    }

    func happen(_ what: String, _ node: Int?) {
        faults[what, default: 0] += 1
        note("FAULT \(what)\(node.map { " (node \($0))" } ?? "")")
    }

    func pick(_ nodes: [Int]) -> Int? { nodes.isEmpty ? nil : nodes[Int(random.below(UInt64(nodes.count)))] }

    /// Short cuts are weathered by repetition, long ones outlast a lease.
    private func cut(_ a: Int?, _ b: Int?) {
        guard let a, let b else { return }
        cuts[SIMD2(Int32(min(a, b)), Int32(max(a, b)))] = now + someTime()
    }

    /// What one process sends to another is lost for a while; the answers to what came before arrive.
    func cutOneWay() {
        if isCalm { return }
        queue.insert(.oneWayCut, at: now + 200 + Int64(linkRandom.below(4_000)))
        let nodes = [0] + shards.keys.sorted() + workers.keys.sorted()
        let (sender, receiver) = (
            nodes[Int(linkRandom.below(UInt64(nodes.count)))], nodes[Int(linkRandom.below(UInt64(nodes.count)))]
        )
        guard sender != receiver else { return }
        happen("a link is cut in one direction", sender)
        oneWayCuts[SIMD2(Int32(sender), Int32(receiver))] =
            now + 100 + Int64(linkRandom.below(linkRandom.below(3) == 0 ? 20_000 : 3_000))
    }

    func isCutOneWay(_ sender: Int, _ receiver: Int) -> Bool {
        oneWayCuts[SIMD2(Int32(sender), Int32(receiver))] ?? 0 > now
    }

    private func someTime() -> Int64 { Int64(random.below(random.below(2) == 0 ? 1_000 : 8_000)) }

    private func kill(_ node: Int) {
        guard let host = shards[node]?.host else { return }
        // After the last step nobody would bring back what only a memory holds.
        if !host.logs && database.record?.committed == scenario.steps - 1 { return }
        if !host.logs { hasLostSteps = true }
        stopShard(node)
        queue.insert(.startShard(host: host.index), at: now + 1 + someTime())
    }

    /// Whoever runs a shard that has ended starts it again.
    func startLater(_ shard: ShardProcess) {
        stopShard(shard.node)
        queue.insert(.startShard(host: shard.host.index), at: now + 1 + someTime())
    }

    func cutPower(_ node: Int) {
        guard let host = shards[node]?.host else { return }
        kill(node)
        if host.disk.losePower(&random) {
            host.hasLost = true
            hasLostSteps = true
        }
    }

    private func killCoordinator() {
        guard coordinator != nil else { return }
        stopCoordinator()
        if scenario.sabotage == .announcesBeforeWriting { database = previousDatabase }
        queue.insert(.startCoordinator, at: now + 1 + someTime())
    }

    /// SIGSTOP, and later SIGCONT: it goes on as if nothing had happened.
    private func stop(_ what: String, _ node: Int?) {
        guard let node, stopped[node] == nil else { return }
        happen(what, node)
        stopped[node] = []
        queue.insert(.wake(node), at: now + 1 + someTime())
    }

    func calmDown() {
        note("CALM")
        isCalm = true
        world.unreadableFrom = .max
        for host in hosts.values.filter(\.isCopy).map(\.index).sorted() { endCopy(host) }
        (cuts, oneWayCuts) = ([:], [:])
        endIsolations()
        startWorkers()  // the run may still wait for them to begin
        queue.insert(.help, at: now + 10_000)
    }

    /// What an operator does who finds the run waiting after everything has been started again.
    func help() {
        if isOver { return }
        queue.insert(.help, at: now + 10_000)
        // Workers go when the run is over: if it is not after all, new ones are needed.
        if ableWorkerCount == 0 { startWorkers() }
        tellCoordinator(.resume)
        mendLinks()
        if let machine = coordinator?.machine, !machine.status(at: instant).taskFailures.isEmpty,
            case .classes? = machine.record.task?.kind
        {
            callOff()
        }
        if scenario.secondCopies, case .wait(let reason)? = coordinator?.machine.activity,
            reason.contains("second copies")
        {
            // Whoever asks for two copies runs two shards.
            if hosts.count < 2 { addHost() }
            tellCoordinator(.rebalance)
        }
        for member in lostForEver.sorted()
        where database.record?.owners.values.contains(member.number) == true
            && !shards.values.contains(where: { $0.member == member && isMember($0) }) && isToldToForget
        {
            hasLostSteps = true
            // Without a checkpoint the run begins anew.
            if coordinator?.machine.checkpoints.isEmpty == true {
                goBack(to: "", of: -1, "\(member) is lost")
            } else {
                orderBack(.forget(member), of: coordinator?.machine.checkpoints.map(\.step).max() ?? -1)
            }
        }
        if scenario.putsDatabaseBack || scenario.losesDatabase || isOwnerPassedOver
            || hosts.values.contains(where: \.isReplaced),
            let machine = coordinator?.machine
        {
            restore(machine)
        }
    }

    /// Whether the cluster says what to do about a shard that is lost. Where it says so, the operator starts another one.
    private var isToldToForget: Bool {
        guard let machine = coordinator?.machine else { return false }
        var reason = machine.waitingFor(instant)
        if case .wait(let text) = machine.activity { reason = text }
        if reason.contains("start another shard server") { addHost() }
        // There is nothing to be told without a checkpoint.
        return reason.contains("coordinator forget") || machine.checkpoints.isEmpty
    }

    /// The operator goes back to a checkpoint where the cluster asks for that: to the newest that it knows, or, if that is gone, as one
    /// may be that only an old database names, to the newest that is there.
    private func restore(_ machine: CoordinatorMachine) {
        let task = machine.record.task
        if case .restore(let directory?)? = task?.kind, world.flaw(directory, step: task?.step ?? -1) != nil,
            !machine.status(at: instant).taskFailures.isEmpty
        {
            let found = world.newestCheckpoint
            feats["restored from another checkpoint", default: 0] += 1
            goBack(to: found?.directory ?? "", of: found?.step ?? -1, "\(directory) is gone")
        } else if case .wait(let reason) = machine.plan.activity, reason.contains("`coordinator restore`") {
            let newest = machine.checkpoints.max { $0.step < $1.step }
            goBack(to: newest?.directory ?? "", of: newest?.step ?? -1, reason)
        }
    }

    private func goBack(to directory: String, of step: Int, _ reason: String) {
        note("the operator restores \(directory): \(reason)")
        orderToGoBack(to: directory, of: step)
    }

    /// Nobody but the operator may have the cluster go behind a task that it has done.
    func orderToGoBack(to directory: String, of step: Int) {
        orderBack(.restore(checkpoint: directory, step: step), of: step)
    }

    private func orderBack(_ order: CoordinatorMachine.Event, of step: Int) {
        guard coordinator != nil else { return }
        hasLostSteps = true
        floor = min(floor, step)
        isOrderedBack = true
        tellCoordinator(order)
        isOrderedBack = false
    }
}
