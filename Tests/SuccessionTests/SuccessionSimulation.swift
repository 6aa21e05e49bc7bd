internal import Determinism
internal import Succession

/// Two coordinators and their shards on a network and hosts that misbehave. Everything is drawn from the seed.
///
/// What is decided is a list of numbers. The invariant: what has taken effect is in the record of whoever has a decision take effect later.
final class SuccessionSimulation {
    typealias Coordinator = ToyCoordinator

    enum Message {
        case poll(Int, Coordinator.Question, granted: CoordinatorView?)
        case answer(Int, Answer)
        /// One that was started asks whether the other has taken over.
        case whoLeads
        case leads(view: Int)
        case hello(BallotVote, shard: Int)
        case reply(BallotQuestion?, isServed: Bool)
    }

    enum Answer {
        case everything(session: UInt64, upTo: Int, record: Coordinator.Record)
        case entries(session: UInt64, [(number: Int, decisions: [Coordinator.Decision])])
        case nothing
        case handedOver(CoordinatorView)
    }

    private enum Event {
        case deliver(Message, from: Int, to: Int)
        case tick(Int)
        case fault
        case calm
        case start(Int)
    }

    /// A shard as a witness: what it has promised is on its disk.
    private struct Shard {
        var vote = BallotVote()
        var listensTo = 0
        var lastHeard: Int64 = 0
    }

    static let lease: Int64 = 1_000
    static let calmAt: Int64 = 60_000
    static let endAt: Int64 = 90_000

    let isAutomatic: Bool
    let shardCount: Int
    private var random: KeyedRandom
    private(set) var now: Int64 = 0
    private var queue: [(time: Int64, order: Int, event: Event)] = []
    private var order = 0
    private var coordinators: [Coordinator]
    private var shards: [Shard]
    private var cuts: [SIMD2<Int32>: Int64] = [:]
    private var isCalm = false
    private var nextNumber = 0
    /// What has taken effect, in order.
    private var effects: [Int] = []
    private(set) var feats: [String: Int] = [:]
    private(set) var violation: String?
    private(set) var trace: [String]?
    let sabotage: Sabotage?

    /// Faults of ours that the simulation must notice.
    enum Sabotage: String, CaseIterable {
        case doesNotWait, forgetsPromises, takesOverWithoutMajority, goesOnAlone, takesOldAnswers,
            changesVotersAtOnce
    }

    /// Coordinators are nodes 0 and 1, shards 2 and above.
    init(seed: UInt64, sabotage: Sabotage? = nil, tracing: Bool = false) {
        random = KeyedRandom(seed: seed, purpose: .test, 21)
        isAutomatic = random.below(3) > 0
        shardCount = 1 + Int(random.below(5))
        self.sabotage = sabotage
        coordinators = [Coordinator(identity: 100), Coordinator(identity: 200, follows: 0)]
        shards = .init(repeating: Shard(), count: shardCount)
        if tracing { trace = [] }
        coordinators[0].disk.record.witnesses = Set(0..<shardCount)
    }

    func note(_ line: @autoclosure () -> String) { if trace != nil { trace?.append("\(now) ms  \(line())") } }

    func count(_ feat: String) { feats[feat, default: 0] += 1 }

    private func schedule(_ event: Event, after delay: Int64) {
        order += 1
        queue.append((now + delay, order, event))
    }

    /// Returns what was violated, or nil.
    func run() -> String? {
        for node in 0..<2 { schedule(.start(node), after: Int64(random.below(500))) }
        for node in 0..<2 + shardCount { schedule(.tick(node), after: Int64(random.below(100))) }
        schedule(.fault, after: 3_000)
        schedule(.calm, after: Self.calmAt)
        while violation == nil, now < Self.endAt {
            let next = queue.indices.min { (queue[$0].time, queue[$0].order) < (queue[$1].time, queue[$1].order) }
            guard let next else { break }
            let (time, _, event) = queue.remove(at: next)
            now = time
            handle(event)
        }
        if violation == nil { checkEnd() }
        return violation
    }

    private func handle(_ event: Event) {
        switch event {
        case .deliver(let message, let sender, let receiver): deliver(message, sender, receiver)
        case .tick(let node):
            schedule(.tick(node), after: 80 + Int64(random.below(40)))
            if node < 2 { tick(coordinator: node) } else { tick(shard: node) }
        case .fault: fault()
        case .calm:
            note("CALM")
            isCalm = true
            cuts = [:]
            for node in 0..<2 where coordinators[node].mode == nil { schedule(.start(node), after: 10) }
        case .start(let node): start(node)
        }
    }

    // MARK: Faults

    private func fault() {
        if isCalm { return }
        schedule(.fault, after: 200 + Int64(random.below(6_000)))
        let node = Int(random.below(UInt64(2 + shardCount)))
        switch random.below(8) {
        case 0, 1:
            let node = Int(random.below(2))
            note("FAULT coordinator \(node) dies")
            coordinators[node].mode = nil
            schedule(.start(node), after: 100 + Int64(random.below(random.below(2) == 0 ? 500 : 12_000)))
        case 2, 3:
            let other = Int(random.below(UInt64(2 + shardCount)))
            cut(node, other, isBothWays: true)
        case 4: cut(node, Int(random.below(2)), isBothWays: false)
        case 5: cut(0, 1, isBothWays: random.below(2) == 0)
        case 6:
            let node = Int(random.below(2))
            for other in 0..<2 + shardCount where other != node && random.below(4) > 0 {
                cut(node, other, isBothWays: true)
            }
        default:
            let node = Int(random.below(2))
            guard case .follower(var follower)? = coordinators[node].mode else { return }
            let refusal = follower.order(at: .milliseconds(now))
            coordinators[node].mode = .follower(follower)
            note("the operator promotes \(node): \(refusal ?? "ordered")")
        }
    }

    private func cut(_ a: Int, _ b: Int, isBothWays: Bool) {
        guard a != b else { return }
        let until = now + 100 + Int64(random.below(random.below(2) == 0 ? 1_500 : 10_000))
        note("FAULT \(a) -> \(b) is cut until \(until)\(isBothWays ? ", and back" : "")")
        cuts[SIMD2(Int32(a), Int32(b))] = until
        if isBothWays { cuts[SIMD2(Int32(b), Int32(a))] = until }
    }

    // MARK: Network

    private func send(_ message: Message, from sender: Int, to receiver: Int) {
        if cuts[SIMD2(Int32(sender), Int32(receiver))] ?? 0 > now { return }
        if !isCalm, random.below(50) == 0 { return }
        let isLate = !isCalm && random.below(20) == 0
        schedule(.deliver(message, from: sender, to: receiver), after: 1 + Int64(random.below(isLate ? 3_000 : 20)))
    }

    private func deliver(_ message: Message, _ sender: Int, _ receiver: Int) {
        if receiver >= 2 {
            guard case .reply(let question, let isServed) = message else { return }
            return hear(question, isServed: isServed, from: sender, shard: receiver)
        }
        let answers = coordinators[receiver].receive(message, from: sender, self)
        for answer in answers { send(answer, from: receiver, to: sender) }
        settle(receiver)
    }

    // MARK: Coordinators

    private func start(_ node: Int) {
        guard coordinators[node].mode == nil else { return }
        coordinators[node].start(process: random.next(), self)
        note("coordinator \(node) starts: \(coordinators[node].situation)")
    }

    private func tick(coordinator node: Int) {
        guard coordinators[node].mode != nil else { return }
        if case .follower = coordinators[node].mode, let poll = coordinators[node].poll(endpoint: "\(node)") {
            send(poll, from: node, to: 1 - node)
        }
        if case .contender = coordinators[node].mode { send(.whoLeads, from: node, to: 1 - node) }
        // The last decisions have time to reach the standby.
        if now < Self.endAt - 5_000, random.below(3) == 0 {
            nextNumber += 1
            var witnesses: Set<Int>?
            if random.below(5) == 0 {
                witnesses = Set((0..<shardCount).filter { _ in random.below(4) > 0 })
                if witnesses?.isEmpty == true { witnesses = nil }
            }
            for effect in coordinators[node].decide(.number(nextNumber), witnesses: witnesses, self) {
                takeEffect(effect, node)
            }
        }
        settle(node)
    }

    /// What a coordinator does after whatever has happened to it.
    private func settle(_ node: Int) {
        let process = random.next()
        let chance = random.unit()
        for effect in coordinators[node].advance(process: process, chance: Double(chance), self) {
            takeEffect(effect, node)
        }
    }

    private func takeEffect(_ number: Int, _ node: Int) {
        count("effect")
        let known = coordinators[node].disk.record.numbers
        if let missing = effects.first(where: { !known.contains($0) }) {
            violation = "at \(now) ms: \(number) takes effect at coordinator \(node), whose record lacks \(missing)"
        }
        effects.append(number)
    }

    func drawProcess() -> UInt64 { random.next() }

    // MARK: Shards

    private func tick(shard node: Int) {
        let shard = shards[node - 2]
        if now - shard.lastHeard > Self.lease {
            shards[node - 2].listensTo = 1 - shard.listensTo
            shards[node - 2].lastHeard = now
        }
        send(.hello(shards[node - 2].vote, shard: node - 2), from: node, to: shards[node - 2].listensTo)
    }

    private func hear(_ question: BallotQuestion?, isServed: Bool, from sender: Int, shard node: Int) {
        guard sender == shards[node - 2].listensTo else { return }
        if isServed { shards[node - 2].lastHeard = now }
        if let question, shards[node - 2].vote.hear(question) {
            send(.hello(shards[node - 2].vote, shard: node - 2), from: node, to: sender)
            if sabotage == .forgetsPromises { shards[node - 2].vote = BallotVote() }
        } else if !isServed, question == nil {
            shards[node - 2].listensTo = 1 - sender
            shards[node - 2].lastHeard = now
        }
    }

    // MARK: The end

    private func checkEnd() {
        let leaders = coordinators.filter { if case .leader = $0.mode { true } else { false } }
        guard leaders.count == 1, let leader = leaders.first, case .leader(let replication)? = leader.mode else {
            // Where nobody may take over by itself, one that is out of step waits for an operator.
            violation = "at the end \(leaders.count) coordinators lead: \(coordinators.map(\.situation))"
            return
        }
        if !replication.isInStep {
            violation = "at the end the standby is not in step: \(coordinators.map(\.situation))"
        }
        if effects.isEmpty { violation = "nothing took effect" }
    }
}
