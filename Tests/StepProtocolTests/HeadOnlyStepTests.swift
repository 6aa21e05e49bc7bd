internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Steps of a job: its network is its own, and `backward` ends them.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct HeadOnlyStepTests {
    typealias Machine = ShardMachine<String, String>

    private var machine = Machine(member: MemberID(.shard, 0), microBatchCount: 2, empty: "")

    init() {
        var plan = Plan.test(id: 0, ranks: 2, shards: 1)
        for rank in 0..<2 { plan.ranks[rank].microBatches = rank..<rank + 1 }
        plan.job = PlanJob(id: 7, worldSize: 2, setsRate: true)
        _ = machine.handle(.plan(plan), at: .zero)
    }

    @discardableResult
    private mutating func ask(
        _ phase: StepPhase, _ rank: Int, _ payload: String = "", rate: Float = 0.5, query: StepQuery = .none
    ) -> [String] {
        var request = StepRequest(
            id: StepID(step: 0, attempt: 0), rank: rank, worldSize: 2, mapVersion: 1, phase: phase, committed: -1,
            exchange: .features, learningRate: rate, microBatches: rank..<rank + 1, payload: payload)
        request.query = query
        return words(machine.handle(.request("w\(rank)", request), at: .zero))
    }

    @discardableResult
    private mutating func computed(_ result: ShardResult<String>) -> [String] {
        words(machine.handle(.computed(StepID(step: 0, attempt: 0), result), at: .zero))
    }

    private func words(_ actions: [Machine.Action]) -> [String] {
        actions.map { action in
            switch action {
            case .reply(let peer, let reply):
                switch reply.outcome {
                case .done: "\(peer) \(reply.phase)"
                case .refused(let code, let message): "\(peer) \(code): \(message)"
                default: "\(peer) \(reply.outcome)"
                }
            case .compute(_, .backward): "backward"
            case .compute(_, .update(let payload, let rate)): "update \"\(payload)\" \(rate)"
            case .prepared: "prepared"
            default: ""
            }
        }.filter { !$0.isEmpty }
    }

    private mutating func comeToForward() {
        for rank in 0..<2 { ask(.begin, rank, "l") }
        computed(.sample("s"))
        for rank in 0..<2 {
            ask(.forward, rank, "f")
            computed(.forward(rank: rank, "p"))
        }
    }

    @Test mutating func backwardIsAnsweredWhenTheShardIsPrepared() {
        comeToForward()
        #expect(ask(.backward, 0, "z") == [])
        #expect(ask(.backward, 0, query: .isThere) == ["w0 received"])
        #expect(ask(.backward, 1, "z") == ["backward"])
        #expect(computed(.backward) == ["update \"\" 0.5"])
        #expect(ask(.backward, 1, query: .isThere) == ["w1 received"])
        #expect(computed(.update("")) == ["prepared", "w0 backward", "w1 backward"])
        #expect(machine.prepared == StepID(step: 0, attempt: 0))
        #expect(ask(.backward, 1, "z") == ["w1 backward"], "answered again")
        #expect(ask(.backward, 0, query: .isThere) == ["w0 answered"])
        #expect(ask(.backward, 0, query: .answer) == ["w0 backward"])
        #expect(machine.waiting(at: .zero)?.ranks.isEmpty == true)
    }

    @Test(arguments: [StepPhase.parameters, .dense, .update])
    func phasesOfABackboneAreRefused(_ phase: StepPhase) {
        var test = self
        test.comeToForward()
        #expect(
            test.ask(phase, 0).first?.hasPrefix(
                "w0 malformed: \(phase) of step 0: the shards of this run hold no backbone") == true)
    }

    @Test mutating func theRateIsTheJobsAndTheSameForAllRanks() {
        #expect(ask(.begin, 0, "l", rate: 0.125) == [])
        #expect(ask(.begin, 1, "l", rate: 0.25).first?.contains("learning rate 0.25, another rank 0.125") == true)
        #expect(machine.handle(.plan(Plan.test(id: 0, ranks: 2, shards: 1)), at: .zero).isEmpty)
    }
}
