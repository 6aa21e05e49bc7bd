internal import Cluster
internal import Determinism
internal import StepProtocol

/// Members and strangers that do what they should not. Calm does not end it: the others must get along with it.
extension Simulation {
    /// A node that nobody has started.
    private static let stranger = -7

    /// Workers that do what they should and reach every shard.
    var ableWorkerCount: Int { workers.values.count { isAble($0) } }

    private func isAble(_ worker: WorkerProcess) -> Bool {
        !worker.isMute && !worker.isCrashing
            && !lastingCuts.contains { $0.x == Int32(worker.node) || $0.y == Int32(worker.node) }
    }

    private func pickMalice(_ nodes: [Int]) -> Int? {
        nodes.isEmpty ? nil : nodes[Int(maliceRandom.below(UInt64(nodes.count)))]
    }

    func makeMalice() {
        // Some of it goes on to the end of the run.
        queue.insert(.malice, at: now + 1 + Int64(maliceRandom.below(isCalm ? 4_000 : 2_000)))
        let malice = scenario.malice
        let someWorker = pickMalice(workers.keys.sorted())
        let someShard = pickMalice(shards.keys.sorted())
        // When all is calm, those who can work stay able to.
        let mayHarm = !isCalm
        switch maliceRandom.below(5) {
        case 0:
            guard malice.mutes, mayHarm, let worker = someWorker.flatMap({ workers[$0] }) else { return }
            happen("worker does nothing any more", worker.node)
            worker.isMute = true
        case 1:
            guard malice.lies, mayHarm, let worker = someWorker.flatMap({ workers[$0] }) else { return }
            happen("worker lies", worker.node)
            worker.lies = true
            worker.isMute = worker.isMute || maliceRandom.below(3) == 0
        case 2:
            guard malice.strangers, let shard = someShard.flatMap({ shards[$0] }), let machine = shard.machine else {
                return
            }
            happen("stranger speaks", shard.node)
            for _ in 0..<1 + maliceRandom.below(3) { speak(to: shard, machine) }
        case 3:
            guard malice.cuts, mayHarm, let someWorker, let someShard else { return }
            happen("link is cut for good", someWorker)
            let direction = maliceRandom.below(3)
            if direction != 0 { lastingCuts.insert(SIMD2(Int32(someWorker), Int32(someShard))) }
            if direction != 1 { lastingCuts.insert(SIMD2(Int32(someShard), Int32(someWorker))) }
        default:
            guard malice.crashes else { return }
            happen("worker crashes again", nil)
            for (node, worker) in workers where worker.isCrashing { (workers[node], stopped[node]) = (nil, nil) }
            workers[nextNode] = WorkerProcess(node: nextNode, scenario: scenario)
            workers[nextNode]?.isCrashing = true
            queue.insert(.beat(nextNode), at: now + Int64(maliceRandom.below(100)))
            nextNode += 1
        }
    }

    /// A request that no plan has announced, or one that is not its sender's.
    private func speak(to shard: ShardProcess, _ machine: ShardProcess.Session.Machine) {
        let term = machine.plan?.id.term ?? 0
        var id = StepID(term: term, step: machine.committed + 1 + Int(maliceRandom.below(2)), attempt: 1 << 40)
        if maliceRandom.below(2) == 0, let plan = machine.plan { id = plan.id }
        let worldSize = maliceRandom.below(2) == 0 ? machine.plan.map { max(1, $0.ranks.count) } ?? 1 : 2
        let rank = Int(maliceRandom.below(UInt64(worldSize)))
        let range =
            machine.plan.flatMap { $0.ranks.indices.contains(rank) ? $0.ranks[rank].microBatches : nil } ?? 0..<1
        let request = StepRequest<Words>(
            id: id, rank: rank, worldSize: worldSize, mapVersion: machine.plan?.mapVersion ?? 1,
            phase: StepPhase.allCases[Int(maliceRandom.below(6))], committed: id.step - 1, exchange: scenario.exchange,
            learningRate: machine.plan?.learningRate ?? 1, microBatches: range,
            payload: range.map { Toy.mix(99, UInt64($0)) })
        // Even one that says a member's number: incarnations are nobody else's business.
        let member = machine.plan?.ranks.first?.worker ?? MemberID(.worker, 0)
        send(
            .request(request, from: StepSender(member: member, incarnation: 99_999)), from: Self.stranger,
            to: shard.node)
    }

    /// What a worker says that has done nothing. Figures are those of the undisturbed run: nobody could tell by them.
    func lie(_ worker: WorkerProcess, _ plan: Plan) {
        guard worker.lastLie != plan.id, plan.activity == .train, let member = worker.machine?.member,
            plan.id.term == world.term,
            let rank = plan.ranks.first(where: { $0.worker == member }), plan.id.step < scenario.steps,
            !scenario.poisoned.contains(plan.id.step)
        else { return }
        worker.lastLie = plan.id
        let sums = world.oracle.lossSums(plan.id.step)
        let result = StepResult(
            id: plan.id, microBatches: rank.microBatches, lossSums: Array(sums[rank.microBatches]),
            gradientNorm: world.oracle.gradientNorm(plan.id.step), backboneSeconds: 1, exchangeSeconds: 1,
            totalSeconds: 2)
        send(.report(member, incarnation: UInt64(worker.node), .done(result)), from: worker.node, to: 0)
    }

    // MARK: Links

    func isCutForGood(_ sender: Int, _ receiver: Int) -> Bool {
        !lastingCuts.isEmpty && lastingCuts.contains(SIMD2(Int32(sender), Int32(receiver)))
    }

    /// Sends what takes time over a slow link, one after the other, and says how long the message waits there.
    func occupy(_ message: Message, _ sender: Int, _ receiver: Int) -> Int64 {
        guard scenario.malice.transferTime > 0, sender != 0, receiver != 0 else { return 0 }
        let link = SIMD2(Int32(sender), Int32(receiver))
        let free = max(takenUntil[link] ?? 0, now)
        let end = free + (message.isLarge ? scenario.malice.transferTime : 0)
        takenUntil[link] = end
        return end - now
    }

    /// Whether bytes move between two nodes.
    func isMoving(_ a: Int, _ b: Int) -> Bool {
        guard scenario.malice.transferTime > 0 else { return false }
        let (there, back) = (SIMD2(Int32(a), Int32(b)), SIMD2(Int32(b), Int32(a)))
        return max(takenUntil[there] ?? 0, takenUntil[back] ?? 0) > now
    }
}

extension Message {
    /// Whether it has a payload that takes time.
    fileprivate var isLarge: Bool {
        switch self {
        case .request(let request, _): request.phase > .begin && !request.payload.isEmpty
        case .reply(_, let reply):
            if case .done(let payload) = reply.outcome { reply.phase != .begin && !payload.isEmpty } else { false }
        case .transferReply(_, let reply):
            switch reply.content {
            case .chunk, .record: true
            case .upToDate, .gone: false
            }
        default: false
        }
    }
}
