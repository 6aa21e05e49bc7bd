internal import Determinism

/// The coordinator's side of the step protocol: who is alive, who computes what, and which step is committed.
///
/// A value without I/O or clock. The shell feeds it events and executes its actions. The rules are in
/// docs/step-protocol.md.
public struct CoordinatorMachine<Peer: Hashable & Sendable>: Sendable {
    struct Member: Sendable {
        var peer: Peer
        var incarnation: UInt64
        var endpoint: String
        var lastHeard: Duration
        /// Of a shard: false while its lease has run out. Workers are forgotten instead.
        var isAlive = true
        var stateStep: Int?
        var lastResult: StepResult?
    }

    public let configuration: CoordinatorConfiguration
    /// The step that is or will be computed.
    public internal(set) var id = StepID(step: 0, attempt: 0)
    /// The last committed step, -1 before the first.
    public internal(set) var committed = -1
    public internal(set) var activity = Plan.Activity.wait(reason: "")
    var workers: [Int: Member] = [:]
    var shards: [Member?]
    var nextWorkerNumber = 0
    /// The slice map is fixed when all shards are there for the first time.
    var hasSliceMap = false
    var hasStarted = false
    var ranks: [Plan.Rank] = []
    var results: [Int: StepResult] = [:]
    var stepStart: Duration?
    var isPaused = false
    var isStopping = false
    /// Attempts of this step that failed because a shard did not answer, and when the next may begin.
    var unresponsiveAttempts = 0
    var retryAt: Duration?
    var history: [StepReport] = []
    var unconfirmedShards: Set<Int>?

    public init(_ configuration: CoordinatorConfiguration) {
        self.configuration = configuration
        shards = Array(repeating: nil, count: configuration.expectedShards)
    }

    /// When the machine wants a `.tick`.
    public var nextDeadline: Duration? {
        var deadline = retryAt
        func consider(_ member: Member) {
            if member.isAlive {
                deadline = min(deadline ?? .seconds(Int64.max), member.lastHeard + configuration.lease)
            }
        }
        for worker in workers.values { consider(worker) }
        for shard in shards { shard.map(consider) }
        return deadline
    }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        var actions: [Action] = []
        switch event {
        case .joined(let peer, let role, let incarnation, let endpoint, let previousNumber, let stateStep):
            let newcomer = Member(
                peer: peer, incarnation: incarnation, endpoint: endpoint, lastHeard: now, stateStep: stateStep)
            actions = join(newcomer, role, previousNumber, stateStep)
        case .heartbeat(let peer, let member, let incarnation, let stateStep):
            actions = heard(peer, member, incarnation, now) { machine in
                guard member.role == .shard else { return [] }
                if let stateStep { machine.shards[member.number]?.stateStep = stateStep }
                if stateStep ?? machine.committed >= machine.committed { machine.confirm(member.number) }
                return [.send(member, peer, machine.plan)]
            }
        case .left(let member, let incarnation):
            actions = leave(member, incarnation)
        case .ready(let peer, let member, let incarnation):
            actions = heard(peer, member, incarnation, now) { [.send(member, peer, $0.plan)] }
        case .stepDone(let peer, let member, let incarnation, let result):
            actions = heard(peer, member, incarnation, now) { $0.record(result, from: member, peer, now) }
        case .stepFailed(let peer, let member, let incarnation, let id, let code, let message):
            actions = heard(peer, member, incarnation, now) {
                $0.recordFailure(of: id, from: member, code, message, now) + [.send(member, peer, $0.plan)]
            }
        case .pause: isPaused = true
        case .resume: isPaused = false
        case .stop: isStopping = true
        case .tick: break
        }
        actions += expire(now)
        actions += proceed(now)
        return actions + finish()
    }

    /// The plan that every member should have now.
    public var plan: Plan {
        let lastStep = max(0, configuration.totalSteps - 1)
        return Plan(
            id: id, committed: committed, mapVersion: hasSliceMap ? 1 : 0, exchange: configuration.exchange,
            learningRate: configuration.learningRate(min(id.step, lastStep)), ranks: ranks, shards: shardMap,
            activity: activity)
    }

    var shardMap: [Plan.Shard] {
        guard hasSliceMap else { return [] }
        let count = shards.count
        func part(_ number: Int, of total: Int) -> Range<Int> { total * number / count..<total * (number + 1) / count }
        return shards.indices.map { number in
            Plan.Shard(
                shard: MemberID(.shard, number), endpoint: shards[number]?.endpoint ?? "",
                slices: SliceSet(part(number, of: configuration.sliceCount)),
                denseSlices: SliceSet(part(number, of: configuration.denseSliceCount)))
        }
    }

    /// The plan for everyone who can be reached.
    func broadcast() -> [Action] {
        let plan = plan
        var actions = shards.indices.compactMap { number in
            shards[number].flatMap { $0.isAlive ? Action.send(MemberID(.shard, number), $0.peer, plan) : nil }
        }
        for (number, worker) in workers.sorted(by: { $0.key < $1.key }) {
            actions.append(.send(MemberID(.worker, number), worker.peer, plan))
        }
        return actions
    }
}
