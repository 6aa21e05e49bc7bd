internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Features of a rank that come in parts, one after the other, as from a job that accumulates gradients.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ForwardPartsTests {
    typealias Machine = ShardMachine<String, String>

    private var machine = Machine(member: MemberID(.shard, 0), microBatchCount: 6, empty: "")

    init() {
        var plan = Plan.test(id: 0, ranks: 2, shards: 1)
        for rank in 0..<2 { plan.ranks[rank].microBatches = Self.own(rank) }
        plan.job = PlanJob(id: 7, worldSize: 2, setsRate: true)
        _ = machine.handle(.plan(plan), at: .zero)
        for rank in 0..<2 { ask(.begin, rank, nil, "l") }
        computed(.sample("s"))
    }

    private static func own(_ rank: Int) -> Range<Int> { 3 * rank..<3 * (rank + 1) }

    @discardableResult
    private mutating func ask(
        _ phase: StepPhase, _ rank: Int, _ part: Range<Int>?, _ payload: String = "", query: StepQuery = .none,
        exchange: Exchange = .features
    ) -> [String] {
        var request = StepRequest(
            id: StepID(step: 0, attempt: 0), rank: rank, worldSize: 2, mapVersion: 1, phase: phase, committed: -1,
            exchange: exchange, learningRate: 0.5, microBatches: Self.own(rank), payload: payload)
        (request.part, request.query) = (part, query)
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
                let part = reply.part.map { " of \($0)" } ?? ""
                return switch reply.outcome {
                case .done(let payload): "\(peer) \(reply.phase)\(part): \(payload)"
                case .refused(let code, let message): "\(peer) \(code): \(message)"
                case .stale: "\(peer) stale\(part)"
                case .notReady: "\(peer) not ready"
                default: "\(peer) \(reply.outcome)\(part)"
                }
            case .compute(_, .forward(_, let microBatches, let payload)): return "\(payload) of \(microBatches)"
            case .compute(_, .backward(let forward, let backward)): return "\(forward) \(backward)"
            default: return ""
            }
        }.filter { !$0.isEmpty }
    }

    /// Rank 1 sends all at once; backward of both has what each has sent, in order.
    @Test mutating func areAnsweredOneByOneAndDifferentiatedTogether() {
        #expect(ask(.forward, 0, 0..<1, "a") == ["a of 0..<1"])
        #expect(machine.waiting(at: .zero)?.ranks.map(\.rank) == [1], "the shard computes for rank 0")
        #expect(computed(.forward(rank: 0, "A")) == ["w0 forward of 0..<1: A"])
        #expect(machine.waiting(at: .zero)?.ranks.map(\.rank) == [0, 1])
        #expect(ask(.forward, 0, 1..<3, "bc") == ["bc of 1..<3"])
        #expect(computed(.forward(rank: 0, "BC")) == ["w0 forward of 1..<3: BC"])
        #expect(ask(.backward, 0, nil, "x") == [])
        #expect(ask(.forward, 1, nil, "def") == ["def of 3..<6"])
        #expect(computed(.forward(rank: 1, "DEF")) == ["w1 forward: DEF"])
        #expect(ask(.backward, 1, nil, "y") == [#"[["a", "bc"], ["def"]] ["x", "y"]"#])
        #expect(ask(.forward, 0, 1..<3, "bc") == ["w0 stale of 1..<3"])
    }

    @Test mutating func aPartThatComesAgainIsAnsweredAgain() {
        ask(.forward, 0, 0..<1, "a")
        #expect(ask(.forward, 0, 0..<1, "a") == [])
        #expect(ask(.forward, 0, 0..<1, query: .isThere) == ["w0 received of 0..<1"])
        #expect(ask(.forward, 0, 1..<3, query: .isThere) == ["w0 missing of 1..<3"])
        computed(.forward(rank: 0, "A"))
        #expect(ask(.forward, 0, 0..<1, "a") == ["w0 forward of 0..<1: A"])
        #expect(ask(.forward, 0, 0..<1, query: .isThere) == ["w0 answered of 0..<1"])
        #expect(ask(.forward, 0, 0..<1, query: .answer) == ["w0 forward of 0..<1: A"])
        ask(.forward, 0, 1..<2, "b")
        #expect(ask(.forward, 0, 0..<1, "a") == ["w0 stale of 0..<1"], "the worker has had this answer")
        #expect(ask(.forward, 0, 0..<1, query: .isThere) == ["w0 stale of 0..<1"])
    }

    @Test mutating func whatDoesNotFollowIsRefusedInWords() {
        func refusal(_ words: [String]) -> String { words.count == 1 ? words[0] : "\(words)" }
        #expect(
            refusal(ask(.forward, 0, 1..<2, "b"))
                == "w0 malformed: micro-batches 1..<2 of rank 0 of step 0 came where those from 0 on are next")
        #expect(refusal(ask(.forward, 0, 0..<4, "a")).contains("0..<4 of rank 0 of step 0 are no part of its 0..<3"))
        #expect(refusal(ask(.forward, 0, 0..<0, "")).contains("are no part of its 0..<3"))
        ask(.forward, 0, 0..<2, "ab")
        #expect(refusal(ask(.forward, 0, 2..<3, "c")).contains("came before the answer to the part before them"))
        computed(.forward(rank: 0, "AB"))
        #expect(refusal(ask(.forward, 0, 1..<3, "bc")).contains("came where those from 2 on are next"))
        #expect(refusal(ask(.forward, 0, nil, "abc")).contains("came where those from 2 on are next"))
        #expect(
            refusal(ask(.backward, 0, nil, "x"))
                == "w0 malformed: backward of rank 0 of step 0 came before the features of its micro-batches 2..<3")
        #expect(ask(.forward, 0, 2..<3, "c") == ["c of 2..<3"], "nothing of it was applied")
        #expect(refusal(ask(.backward, 1, 3..<4, "y")).contains("has no parts"))
        #expect(refusal(ask(.forward, 1, 3..<4, exchange: .rows)).contains("has no parts"))
    }

    @Test mutating func backwardWaitsForTheAnswerToTheLastPart() {
        ask(.forward, 0, 0..<3, "abc")
        #expect(ask(.backward, 0, nil, "x") == ["w0 not ready"])
    }
}
