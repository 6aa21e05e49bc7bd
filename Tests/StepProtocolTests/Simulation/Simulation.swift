internal import Determinism
internal import StepProtocol

/// A discrete-event simulation of the three machines of the step protocol on a network that misbehaves.
///
/// Everything is drawn from the scenario's seed, so that a run can be repeated. Node 0 is the coordinator.
final class Simulation {
    enum Event {
        case deliver(Message, from: Int, to: Int)
        case beat(Int)
        case tick(Int)
        case computed(Int)
        case misfortune
        case calm
    }

    let scenario: Scenario
    let oracle: ToyRun
    var random: KeyedRandom
    var now: Int64 = 0
    var queue = EventQueue<Event>()
    var coordinator: CoordinatorMachine<Int>
    var coordinatorTick: Int64?
    var shards: [Int: ShardProcess] = [:]
    var workers: [Int: WorkerProcess] = [:]
    /// Which process serves an endpoint.
    var endpoints: [String: Int] = [:]
    /// Until when a pair of nodes cannot reach each other; -1 stands for every node.
    var cuts: [SIMD2<Int32>: Int64] = [:]
    var nextNode = 1
    var isCalm = false
    var isFinished = false
    var failure: String?
    var violation: String?
    var reports: [StepReport] = []
    var largestWorld = 1
    var eventCount = 0
    var faults: [String: Int] = [:]
    /// Lines of what happened, when a seed is replayed.
    var trace: [String]?

    init(_ scenario: Scenario, tracing: Bool = false) {
        self.scenario = scenario
        oracle = ToyRun(
            shards: scenario.shards, microBatches: scenario.microBatches, batchSize: scenario.batchSize,
            steps: scenario.steps)
        random = KeyedRandom(seed: scenario.seed, purpose: .test, 2)
        coordinator = CoordinatorMachine(scenario.coordinator)
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
        for slot in 0..<scenario.shards { startShard(slot) }
        for _ in 0..<scenario.workers { startWorker() }
        queue.insert(.calm, at: scenario.calm)
        queue.insert(.misfortune, at: Int64(random.below(UInt64(scenario.faultInterval))))
        while violation == nil, failure == nil, !isOver, let (time, event) = queue.popFirst() {
            now = time
            eventCount += 1
            if now > scenario.calm + Scenario.patience {
                check(false, "no end in sight: \(coordinator.id), \(coordinator.activity)")
            }
            handle(event)
        }
        if violation == nil { checkEnd() }
        return violation
    }

    /// Finished, and shards that could not be reached then have heard of it.
    private var isOver: Bool {
        isFinished && shards.values.allSatisfy { $0.machine.committed == scenario.steps - 1 && $0.queue.isEmpty }
    }

    private func handle(_ event: Event) {
        switch event {
        case .deliver(let message, let sender, let receiver): deliver(message, from: sender, to: receiver)
        case .beat(let node):
            guard shards[node] != nil || workers[node] != nil else { return }
            shards[node]?.beat(self)
            workers[node]?.beat(self)
            queue.insert(.beat(node), at: now + Scenario.heartbeat)
        case .tick(0):
            guard coordinatorTick == now else { return }
            coordinatorTick = nil
            tellCoordinator(.tick)
        case .tick(let node): workers[node]?.tick(self)
        case .computed(let node):
            shards[node]?.finishComputation(self)
            workers[node]?.finishComputation(self)
        case .misfortune: misfortune()
        case .calm: calmDown()
        }
    }

    // MARK: Processes

    func startShard(_ slot: Int) {
        let shard = ShardProcess(node: nextNode, slot: slot, scenario: scenario)
        shards[nextNode] = shard
        endpoints[shard.endpoint] = nextNode
        queue.insert(.beat(nextNode), at: now + Int64(random.below(300)))
        nextNode += 1
    }

    func startWorker() {
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

    // MARK: Network

    func isCut(_ a: Int, _ b: Int) -> Bool {
        if cuts.isEmpty { return false }
        func until(_ a: Int, _ b: Int) -> Int64 { cuts[SIMD2(Int32(a), Int32(b))] ?? 0 }
        return max(until(min(a, b), max(a, b)), until(-1, a), until(-1, b)) > now
    }

    func send(_ message: Message, from sender: Int, to receiver: Int) {
        if isCut(sender, receiver) { return }
        if !isCalm && random.unit() < scenario.loss { return }
        repeat {
            let isLate = !isCalm && random.unit() < scenario.straggling
            let delay = Int64(random.below(isLate ? 5_000 : 20))
            queue.insert(.deliver(message, from: sender, to: receiver), at: now + 1 + delay)
        } while !isCalm && random.unit() < scenario.doubling
    }

    private func deliver(_ message: Message, from sender: Int, to receiver: Int) {
        if isCut(sender, receiver) { return }
        note("\(sender) -> \(receiver)  \(message.summary)")
        guard receiver == 0 else {
            shards[receiver]?.receive(message, from: sender, self)
            workers[receiver]?.receive(message, from: sender, self)
            return
        }
        switch message {
        case .joined(let role, let incarnation, let endpoint, let previousNumber, let stateStep):
            if shards[sender] == nil && workers[sender] == nil { return }  // a connection dies with its process
            tellCoordinator(
                .joined(
                    sender, role: role, incarnation: incarnation, endpoint: endpoint, previousNumber: previousNumber,
                    stateStep: stateStep))
        case .heartbeat(let member, let incarnation, let stateStep):
            tellCoordinator(.heartbeat(sender, member, incarnation: incarnation, stateStep: stateStep))
        case .left(let member, let incarnation): tellCoordinator(.left(member, incarnation: incarnation))
        case .ready(let member, let incarnation): tellCoordinator(.ready(sender, member, incarnation: incarnation))
        case .report(let member, let incarnation, .done(let result)):
            tellCoordinator(.stepDone(sender, member, incarnation: incarnation, result))
        case .report(let member, let incarnation, .failed(let id, let code, let message)):
            tellCoordinator(
                .stepFailed(sender, member, incarnation: incarnation, id, code: code, message: message))
        default: break
        }
    }

    func tellCoordinator(_ event: CoordinatorMachine<Int>.Event) {
        let before = coordinator.id
        for action in coordinator.handle(event, at: instant) {
            switch action {
            case .welcome(let peer, let member): send(.welcome(member), from: 0, to: peer)
            case .refuse(let peer, let code, let message): send(.refuse(code, message), from: 0, to: peer)
            case .send(_, let peer, let plan):
                largestWorld = max(largestWorld, plan.ranks.count)
                send(.plan(plan), from: 0, to: peer)
            case .committed(let report): checkCommit(report, attempted: before)
            case .event(_, let text): note("coordinator: \(text)")
            case .finished:
                isFinished = true
                checkFinished()
            case .failed(let reason): failure = reason
            }
        }
        guard let deadline = coordinator.nextDeadline else { return }
        let time = max(milliseconds(roundingUp: deadline), now)
        if let coordinatorTick, coordinatorTick <= time { return }
        coordinatorTick = time
        queue.insert(.tick(0), at: time)
    }
}
