internal import Cluster
internal import Determinism
internal import StepProtocol

/// A discrete-event simulation of the machines of the step protocol on hosts and a network that misbehave.
///
/// Everything is drawn from the scenario's seed, so that a run can be repeated. Node 0 is the coordinator.
final class Simulation {
    /// In a box each: the queue moves them about.
    indirect enum Event {
        /// Of what goes to a coordinator: to which one.
        case deliver(Message, from: Int, to: Int, start: UInt64)
        case beat(Int)
        case tick(Int)
        case computed(Int)
        /// A node that was stopped goes on.
        case wake(Int)
        case startCoordinator
        case startShard(host: Int)
        /// The coordinator's shell has written the manifest of a checkpoint.
        case manifest(number: Int)
        case misfortune
        /// Copies and backups: drawn apart, so that the other schedules stay what they were.
        case mischief
        /// A copy of a directory was started, and is ended.
        case endCopy(host: Int)
        case readable
        case databaseLoss
        case powerCutAtTheEnd
        /// The hosts of all shards lose power, and the coordinator's or its process dies.
        case blackout
        case malice
        /// A host is lost with its disk.
        case loss
        /// A link is cut in one direction.
        case oneWayCut
        /// No worker reaches a shard any more.
        case isolation
        case takeover
        case calm
        case help
        /// Whoever runs jobs starts one.
        case startJob

        /// The node that must run for this to happen.
        var node: Int? {
            switch self {
            case .deliver(_, _, let node, _), .beat(let node), .tick(let node), .computed(let node): node
            case .manifest: 0
            case .wake, .startCoordinator, .startShard, .misfortune, .mischief, .databaseLoss, .endCopy, .readable,
                .powerCutAtTheEnd,
                .blackout, .calm, .malice, .loss, .oneWayCut, .isolation, .takeover, .help, .startJob:
                nil
            }
        }
    }

    let scenario: Scenario
    var world: ToyWorld
    var random: KeyedRandom
    var now: Int64 = 0
    var queue = EventQueue<Event>()
    var coordinator: CoordinatorProcess?
    var database = CoordinatorProcess.Database()
    /// Without the last decision.
    var previousDatabase = CoordinatorProcess.Database()
    var hosts: [Int: ShardHost] = [:]
    var nextHost = 0
    var shards: [Int: ShardProcess] = [:]
    var workers: [Int: WorkerProcess] = [:]
    /// Which process serves an endpoint.
    var endpoints: [String: Int] = [:]
    /// Until when a pair of nodes cannot reach each other; -1 stands for every node.
    var cuts: [SIMD2<Int32>: Int64] = [:]
    /// Directions between two nodes in which nothing comes through any more.
    var lastingCuts: Set<SIMD2<Int32>> = []
    /// Until when a slow direction between two nodes is taken by what was sent before.
    var takenUntil: [SIMD2<Int32>: Int64] = [:]
    /// What happens to stopped nodes when they go on.
    var stopped: [Int: [Event]] = [:]
    var nextNode = 1
    var coordinatorStarts: UInt64 = 0
    /// Jobs whose processes live.
    var jobs: [ToyJob] = []
    var everyJob: [UInt64: ToyJob] = [:]
    /// What jobs have saved by themselves.
    var savedStates: [ToyJob.Saved] = []
    var isJobStarting = false
    /// How many of the next starts are careful: the cluster cannot go back to everything.
    var refusedStarts = 0
    /// A job takes over with the decisions in hand.
    var isTakenOver = false
    /// For jobs.
    var jobRandom: KeyedRandom
    /// Until when nothing comes through from the first node to the second.
    var oneWayCuts: [SIMD2<Int32>: Int64] = [:]
    var linkRandom: KeyedRandom
    /// Shards that no worker reaches.
    var isolated: [Int: Isolation] = [:]
    var isolationRandom: KeyedRandom
    /// The coordinator that a standby has taken over from, while it lives.
    var former: FormerCoordinator?
    /// The first start of a coordinator since a standby took over.
    var startAfterTakeover: UInt64 = 0
    var takeoverRandom: KeyedRandom
    /// For the loss of hosts.
    var hostRandom: KeyedRandom
    /// Numbers of shards whose disks were lost.
    var lostNumbers: Set<Int> = []
    /// Shards that are gone with what nobody else has.
    var lostForEver: Set<MemberID> = []
    /// Draws what malice does.
    var maliceRandom: KeyedRandom
    /// For mischief.
    var otherRandom: KeyedRandom
    /// For what happens after retries.
    var retryRandom: KeyedRandom
    var copiedDisk: ToyDisk?
    var copiedDatabase: CoordinatorProcess.Database?
    /// Draws when the database is lost.
    var lossRandom: KeyedRandom
    /// The database is gone, and the next coordinator makes it again.
    var isDatabaseLost = false
    /// An owner was not waited for, which may come back with a newer record.
    var isOwnerPassedOver = false
    /// What it had.
    var lostRecord: CoordinatorRecord?
    /// Numbers the states of the record.
    var recordNumber = 0
    var hasLostPowerAtTheEnd = false
    var isCalm = false
    var isFinished = false
    /// Whether something was lost that a shard or the coordinator had not made durable.
    var hasLostSteps = false
    /// The last step behind which nobody may go back: what every shard has acknowledged there no power cut undoes.
    var floor = -1
    /// While the coordinator obeys an operator who goes back.
    var isOrderedBack = false
    /// The last step that was committed. Where nothing was lost it is not done again.
    var trained = -1
    /// Whether the coordinator has refused the last order.
    var isRefused = false
    var failure: String?
    var violation: String?
    /// What a worker has written at the end.
    var results: (step: Int, parameters: Words)?
    var reports: [StepReport] = []
    var commits = 0
    var largestWorld = 1
    var eventCount = 0
    var faults: [String: Int] = [:]
    /// Things that must happen in some runs for the simulation to mean something.
    var feats: [String: Int] = [:]
    /// Lines of what happened, when a seed is replayed.
    var trace: [String]?

    init(_ scenario: Scenario, tracing: Bool = false) {
        self.scenario = scenario
        world = ToyWorld(
            ToyRun(
                microBatches: scenario.microBatches, batchSize: scenario.batchSize, poisoned: scenario.poisoned),
            sliceCount: scenario.sliceCount)
        jobRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 11)
        maliceRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 5)
        random = KeyedRandom(seed: scenario.seed, purpose: .test, 2)
        otherRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 4)
        retryRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 8)
        lossRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 12)
        hostRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 15)
        linkRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 16)
        isolationRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 17)
        takeoverRandom = KeyedRandom(seed: scenario.seed, purpose: .test, 18)
        if tracing { trace = [] }
    }

    var instant: Duration { .milliseconds(now) }

    func milliseconds(roundingUp duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }

    func note(_ line: @autoclosure () -> String) {
        if trace != nil { trace?.append("\(now) ms  \(line())") }
    }

    func check(_ condition: Bool, _ message: @autoclosure () -> String) {
        if !condition && violation == nil {
            violation = "at \(now) ms: \(message())"
            note("VIOLATION \(message())")
        }
    }

    /// Runs until the coordinator has finished and says what was violated, or nil.
    func run() -> String? {
        startCoordinator()
        for _ in 0..<scenario.shards { addHost() }
        startWorkers()
        queue.insert(.calm, at: scenario.calm)
        queue.insert(.misfortune, at: Int64(random.below(UInt64(scenario.faultInterval))))
        if scenario.hasMischief { queue.insert(.mischief, at: 1_000 + Int64(otherRandom.below(1_000))) }
        if scenario.losesDatabase { queue.insert(.databaseLoss, at: 1_000 + Int64(lossRandom.below(3_000))) }
        if scenario.cutsOneWay { queue.insert(.oneWayCut, at: 500 + Int64(linkRandom.below(3_000))) }
        if scenario.isolatesShards { queue.insert(.isolation, at: 500 + Int64(isolationRandom.below(6_000))) }
        if scenario.losesHosts { queue.insert(.loss, at: 500 + Int64(hostRandom.below(3_000))) }
        if scenario.hasStandby { queue.insert(.takeover, at: 1_000 + Int64(takeoverRandom.below(3_000))) }
        if scenario.malice.happens { queue.insert(.malice, at: Int64(maliceRandom.below(1_000))) }
        while violation == nil, failure == nil, !isOver, let (time, event) = queue.popFirst() {
            now = time
            eventCount += 1
            if now > scenario.calm + Scenario.patience || eventCount > Scenario.eventLimit {
                check(false, "no end in sight: \(situation)")
            }
            if let node = event.node, stopped[node] != nil {
                stopped[node]?.append(event)
            } else {
                handle(event)
            }
            noticeLostRanks()
        }
        if violation == nil { checkEnd() }
        return violation
    }

    private var situation: String {
        guard let machine = coordinator?.machine else { return "no coordinator" }
        return "\(machine.plan.id), committed \(machine.plan.committed), \(machine.plan.activity)"
    }

    private func handle(_ event: Event) {
        switch event {
        case .deliver(let message, let sender, let receiver, let start):
            deliver(message, from: sender, to: receiver, start)
        case .beat(let node):
            guard shards[node] != nil || workers[node] != nil else { return }
            shards[node]?.beat(self)
            workers[node]?.beat(self)
            queue.insert(.beat(node), at: now + Scenario.heartbeat)
        case .tick(0):
            guard coordinator?.scheduledTick == now else { return }
            coordinator?.scheduledTick = nil
            tellCoordinator(.tick)
        case .tick(let node):
            workers[node]?.tick(self)
            shards[node]?.tick(self)
        case .computed(let node):
            shards[node]?.finishComputation(self)
            workers[node]?.finishComputation(self)
        case .wake(let node):
            note("node \(node) goes on")
            for event in stopped.removeValue(forKey: node) ?? [] { wake(event) }
        case .startCoordinator: startCoordinator()
        case .startShard(let host): hosts[host].map(startShard)
        case .manifest(let number):
            tellCoordinator(.checkpointWritten(number: number, problem: nil))
        case .misfortune: misfortune()
        case .mischief: mischief()
        case .databaseLoss: loseDatabase()
        case .endCopy(let host): endCopy(host)
        case .readable: world.unreadableFrom = .max
        case .powerCutAtTheEnd: cutPowerAtTheEnd()
        case .blackout: blackOut()
        case .malice: makeMalice()
        case .loss: loseHost()
        case .oneWayCut: cutOneWay()
        case .isolation: isolate()
        case .takeover: takeOver()
        case .calm: calmDown()
        case .help: help()
        case .startJob:
            isJobStarting = false
            if jobs.isEmpty { startJob() }
        }
    }

    /// Timers that passed while a node was stopped are late; what it got is delivered now.
    private func wake(_ event: Event) {
        switch event {
        case .tick(let node):
            if node == 0 { coordinator?.scheduledTick = now }
            workers[node]?.scheduledTick = now
            shards[node]?.scheduledTick = now
        default: break
        }
        handle(event)
    }

    // MARK: Processes

    func addHost() {
        let host = ShardHost(
            index: nextHost, logs: scenario.logs(nextHost), syncsAlways: scenario.syncsAlways)
        hosts[nextHost] = host
        nextHost += 1
        startShard(host)
    }

    func startShard(_ host: ShardHost) {
        guard !shards.values.contains(where: { $0.host === host }) else { return }
        do {
            let shard = try ShardProcess(node: nextNode, host: host, scenario: scenario)
            shards[nextNode] = shard
            endpoints[host.endpoint] = nextNode
            note(
                "\(shard.shell.name) starts on \(host.endpoint) as node \(nextNode) with \(shard.shell.state(of: host))"
            )
            queue.insert(.beat(nextNode), at: now + Int64(random.below(300)))
            nextNode += 1
        } catch {
            check(false, error.description)
        }
    }

    func stopShard(_ node: Int) {
        guard let shard = shards.removeValue(forKey: node) else { return }
        shard.die(self)
        endpoints[shard.host.endpoint] = nil
        stopped[node] = nil
    }

    /// A shard has decided to end.
    func end(_ shard: ShardProcess, _ code: Int32) {
        note("\(shard.name) ends with \(code)")
        if code != 0 { return restartEmpty(shard) }
        if !shard.isDismissed {
            feats["shard left", default: 0] += 1
            return startLater(shard)
        }
        feats["shard drained", default: 0] += 1
        let isOwner = database.record?.owners.values.contains { $0 == shard.member?.number } ?? false
        check(!isOwner, "\(shard.name) is dismissed and owns slices")
        stopShard(shard.node)
        hosts[shard.host.index] = nil
    }

    /// A shard that the coordinator does not know any more begins anew.
    func restartEmpty(_ shard: ShardProcess) {
        note("\(shard.name) begins anew")
        stopShard(shard.node)
        if shard.host.isCopy {
            hosts[shard.host.index] = nil
            return
        }
        shard.host.disk = ToyDisk()
        startShard(shard.host)
    }

    /// As many as the run needs.
    func startWorkers() {
        if scenario.hasJobs {
            if jobs.isEmpty { startJob() }
            return
        }
        while ableWorkerCount < scenario.workers { startWorker() }
    }

    func startWorker() {
        if scenario.hasJobs { return startJob() }
        workers[nextNode] = WorkerProcess(node: nextNode, scenario: scenario)
        queue.insert(.beat(nextNode), at: now + Int64(random.below(300)))
        nextNode += 1
    }

    func scheduleTick(_ node: Int, at time: Int64) { queue.insert(.tick(node), at: time) }

    /// Called when a computation is queued: the node executes one after the other.
    func startComputing(_ node: Int, queueLength: Int) {
        guard queueLength == 1 else { return }
        let isSlow = !isCalm && random.unit() < scenario.slowness
        queue.insert(.computed(node), at: now + Int64(random.below(isSlow ? 3_000 : 40)))
    }

    func computeLater(_ node: Int, after milliseconds: Int64) { queue.insert(.computed(node), at: now + milliseconds) }

    // MARK: Network

    func isCut(_ a: Int, _ b: Int) -> Bool {
        if cuts.isEmpty { return false }
        func until(_ a: Int, _ b: Int) -> Int64 { cuts[SIMD2(Int32(a), Int32(b))] ?? 0 }
        return max(until(min(a, b), max(a, b)), until(-1, a), until(-1, b)) > now
    }

    func send(_ message: Message, from sender: Int, to receiver: Int) {
        if isCut(sender, receiver) || isCutForGood(sender, receiver) || isCutOneWay(sender, receiver) { return }
        if isIsolated(sender, receiver) { return }
        let waiting = occupy(message, sender, receiver)
        let start = receiver == 0 ? coordinatorHeard : 0
        if !isCalm && random.unit() < scenario.loss { return }
        repeat {
            let isLate = !isCalm && random.unit() < scenario.straggling
            let delay = Int64(random.below(isLate ? 5_000 : 20))
            queue.insert(.deliver(message, from: sender, to: receiver, start: start), at: now + 1 + delay + waiting)
        } while !isCalm && random.unit() < scenario.doubling
    }

    private func deliver(_ message: Message, from sender: Int, to receiver: Int, _ start: UInt64) {
        if isCut(sender, receiver) { return }
        note("\(sender) -> \(receiver)  \(message.summary)")
        if receiver == 0 {
            deliverToCoordinator(message, from: sender, start)
        } else {
            shards[receiver]?.receive(message, from: sender, self)
            workers[receiver]?.receive(message, from: sender, self)
        }
    }
}
