internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of docs/step-protocol.md for a shard, one test each.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ShardMachineTests {
    typealias Machine = ShardMachine<String, String>

    private var machine = Machine(member: MemberID(.shard, 0), microBatchCount: 4, empty: "")

    init() { tell(announce(0)) }

    /// Gives the event to the machine and returns its actions as words.
    @discardableResult
    private mutating func tell(_ event: Machine.Event) -> [String] {
        machine.handle(event, at: .zero).map { action in
            switch action {
            case .compute(let id, let computation): "\(id): \(Self.words(computation))"
            case .reply(let peer, let reply): "\(peer) < \(reply.phase) \(Self.words(reply.outcome))"
            case .transfer(let peer, let request): "\(peer) < \(request.slice) \(request.part)"
            case .prepared(let id): "prepared \(id)"
            case .askForPlan: "ask"
            case .report: "report"
            case .acknowledge(let number, .done): "task \(number) done"
            case .acknowledge(let number, .failed(let message)): "task \(number) failed: \(message)"
            }
        }
    }

    private static func words(_ computation: ShardComputation<String>) -> String {
        switch computation {
        case .sample(let ranks, _, _, _):
            "sample \(ranks.map { "\($0.microBatches)\($0.payload)" }.joined(separator: " "))"
        case .forward(let rank, _, let payload): "forward \(rank) \(payload)"
        case .backward(let forward, let backward): "backward \(forward.joined().joined()) \(backward.joined())"
        case .dense(let payloads): "dense \(payloads.joined())"
        case .update(let payload, _): "update \(payload)"
        case .parameters(let rank): "parameters \(rank)"
        case .rollback: "rollback"
        case .commit: "commit"
        case .task(let task): "task \(task.number)"
        case .own(let slices, let denseSlices, let version): "own \(slices) and \(denseSlices) by map \(version)"
        }
    }

    private static func words(_ outcome: StepReply<String>.Outcome) -> String {
        switch outcome {
        case .done(let payload): "done \(payload)"
        case .stale(let current, let committed): "stale \(current.step).\(current.attempt) \(committed)"
        case .notReady: "notReady"
        case .received: "received"
        case .missing: "missing"
        case .answered: "answered"
        case .refused(let code, _): "refused \(code)"
        }
    }

    /// A request of one of `world` ranks, which share four micro-batches. The peer is `w` and the rank.
    private func request(
        _ phase: StepPhase, _ rank: Int, _ payload: String = "", step: Int = 0, attempt: Int = 0, world: Int = 2,
        mapVersion: Int = 1, learningRate: Float = 0.5, exchange: Exchange = .features, microBatches: Range<Int>? = nil,
        peer: String? = nil
    ) -> Machine.Event {
        let own = 4 * rank / max(world, 1)..<4 * (rank + 1) / max(world, 1)
        return .request(
            peer ?? "w\(rank)",
            StepRequest(
                id: StepID(step: step, attempt: attempt), rank: rank, worldSize: world, mapVersion: mapVersion,
                phase: phase, committed: step - 1, exchange: exchange, learningRate: learningRate,
                microBatches: microBatches ?? own, payload: payload))
    }

    private func computed(_ result: ShardResult<String>, step: Int = 0, attempt: Int = 0) -> Machine.Event {
        .computed(StepID(step: step, attempt: attempt), result)
    }

    /// The plan that says that `step` is committed, and nothing else yet.
    private func committed(_ step: Int) -> Machine.Event {
        .plan(.test(id: step + 1, shards: 1, activity: .wait(reason: "")))
    }

    /// The plan of an attempt with `ranks` workers, or with these micro-batches for each.
    private func announce(
        _ step: Int, attempt: Int = 0, ranks: Int = 2, microBatches: [Range<Int>]? = nil
    ) -> Machine.Event {
        var plan = Plan.test(id: step, attempt: attempt, ranks: microBatches?.count ?? ranks, shards: 1)
        for (rank, range) in (microBatches ?? []).enumerated() { plan.ranks[rank].microBatches = range }
        return .plan(plan)
    }

    /// Goes through a step with two ranks up to and including `last`.
    private mutating func advance(to last: StepPhase, step: Int = 0, attempt: Int = 0) {
        for rank in 0..<2 { tell(request(.begin, rank, "l\(rank)", step: step, attempt: attempt)) }
        tell(computed(.sample("s"), step: step, attempt: attempt))
        if last == .begin { return }
        for rank in 0..<2 {
            tell(request(.forward, rank, "f\(rank)", step: step, attempt: attempt))
            tell(computed(.forward(rank: rank, "p\(rank)"), step: step, attempt: attempt))
        }
        if last == .forward { return }
        for rank in 0..<2 { tell(request(.backward, rank, "z\(rank)", step: step, attempt: attempt)) }
        tell(computed(.backward, step: step, attempt: attempt))
        if last == .backward { return }
        for rank in 0..<2 { tell(request(.dense, rank, "d\(rank)", step: step, attempt: attempt)) }
        tell(computed(.dense("n"), step: step, attempt: attempt))
        if last == .dense { return }
        tell(request(.update, 0, "N", step: step, attempt: attempt))
        tell(computed(.update("P"), step: step, attempt: attempt))
    }

    @Test mutating func aStepGoesThroughItsPhases() {
        #expect(tell(request(.begin, 0, "a")) == [])
        #expect(tell(request(.begin, 1, "b")) == ["step 0: sample 0..<2a 2..<4b"])
        #expect(tell(computed(.sample("s"))) == ["w0 < begin done s", "w1 < begin done s"])
        #expect(tell(request(.forward, 1, "g")) == ["step 0: forward 1 g"])
        #expect(tell(computed(.forward(rank: 1, "q"))) == ["w1 < forward done q"])
        #expect(tell(request(.forward, 0, "f")) == ["step 0: forward 0 f"])
        #expect(tell(computed(.forward(rank: 0, "p"))) == ["w0 < forward done p"])
        #expect(tell(request(.backward, 1, "y")) == ["w1 < backward done "])
        #expect(tell(request(.backward, 0, "x")) == ["w0 < backward done ", "step 0: backward fg xy"])
        #expect(tell(request(.dense, 0, "d")) == [])
        #expect(tell(request(.dense, 1, "e")) == ["step 0: dense de"])
        #expect(tell(computed(.dense("n"))) == ["w0 < dense done n", "w1 < dense done n"])
        #expect(tell(request(.update, 0, "N")) == [], "backward is still being computed")
        #expect(tell(computed(.backward)) == ["step 0: update N"])
        #expect(tell(request(.update, 1, "N")) == [])
        #expect(tell(computed(.update("P"))) == ["prepared step 0", "w0 < update done P", "w1 < update done P"])
        #expect(machine.prepared == StepID(step: 0, attempt: 0))
        #expect(machine.committed == -1)
        #expect(tell(committed(0)) == ["step 0: commit"])
        #expect(machine.committed == 0)
        #expect(machine.payloadCount == 0)
    }

    @Test mutating func aRepeatedRequestIsAnsweredAgainAndAppliedOnce() {
        tell(request(.begin, 0, "a"))
        #expect(tell(request(.begin, 0, "a", peer: "again")) == [], "the answer comes once, to the latest connection")
        tell(request(.begin, 1, "b"))
        #expect(tell(request(.begin, 1, "b")) == [])
        #expect(tell(computed(.sample("s"))) == ["again < begin done s", "w1 < begin done s"])
        #expect(tell(request(.begin, 0, "a")) == ["w0 < begin done s"])
        tell(request(.forward, 0, "f"))
        #expect(tell(request(.forward, 0, "f")) == [])
        tell(computed(.forward(rank: 0, "p")))
        #expect(tell(request(.forward, 0, "f")) == ["w0 < forward done p"])
        tell(request(.forward, 1, "g"))
        tell(computed(.forward(rank: 1, "q")))
        tell(request(.backward, 0, "x"))
        #expect(tell(request(.backward, 0, "x")) == ["w0 < backward done "])
        #expect(tell(request(.backward, 1, "y")) == ["w1 < backward done ", "step 0: backward fg xy"])
        #expect(tell(request(.backward, 1, "y")) == ["w1 < backward done "])
        #expect(tell(request(.forward, 0, "f")) == ["w0 < forward stale 0.0 -1"], "the worker has had this answer")
        tell(computed(.backward))
        tell(request(.dense, 0, "d"))
        tell(request(.dense, 1, "e"))
        #expect(tell(request(.dense, 1, "e")) == [])
        tell(computed(.dense("n")))
        #expect(tell(request(.dense, 1, "e")) == ["w1 < dense done n"])
        #expect(tell(request(.update, 0, "N")) == ["step 0: update N"])
        #expect(tell(request(.update, 0, "N")) == [])
        tell(computed(.update("P")))
        #expect(tell(request(.update, 0, "N")) == ["w0 < update done P"])
        #expect(tell(request(.update, 1, "N")) == ["w1 < update done P"])
        tell(committed(0))
        #expect(tell(request(.update, 1, "N")) == ["w1 < update stale 1.0 0"])
        #expect(tell(committed(0)) == [])
    }

    @Test(arguments: [StepPhase.begin, .forward, .backward, .dense, .update])
    mutating func aNewerAttemptPutsEverythingBack(_ reached: StepPhase) {
        advance(to: reached)
        // With another world: one rank has all micro-batches.
        #expect(tell(announce(0, attempt: 1, ranks: 1)) == ["step 0: rollback"])
        #expect(tell(request(.begin, 0, "c", attempt: 1, world: 1)) == ["step 0 attempt 1: sample 0..<4c"])
        #expect(machine.prepared == nil)
        #expect(tell(request(.begin, 1, "l1")) == ["w1 < begin stale 0.1 -1"])
        #expect(tell(request(.update, 1, "N")) == ["w1 < update stale 0.1 -1"])
        #expect(tell(computed(.update("P"))) == [], "a result of the attempt that was left")
        #expect(tell(committed(0)) == [], "nothing is prepared")
        #expect(tell(computed(.sample("t"), attempt: 1)) == ["w0 < begin done t"])
    }

    @Test mutating func anAttemptThatHasNotSampledNeedsNoRollback() {
        tell(request(.begin, 0, "a"))
        #expect(tell(announce(0, attempt: 2)) == [])
        #expect(machine.current == StepID(step: 0, attempt: 2))
    }

    @Test mutating func aPlanForANewerAttemptPutsBackToo() {
        advance(to: .update)
        #expect(tell(.plan(.test(id: 0, attempt: 1, shards: 1))) == ["step 0: rollback"])
        #expect(machine.payloadCount == 0)
        #expect(tell(.plan(.test(id: 0, attempt: 0, shards: 1))) == [], "an old plan")
        #expect(tell(request(.begin, 0, "a")) == ["w0 < begin stale 0.1 -1"])
    }

    @Test mutating func onlyThePlanCommitsTheStepThatIsPrepared() {
        advance(to: .update)
        #expect(tell(request(.begin, 0, "a", step: 1, world: 1)) == ["w0 < begin notReady", "ask"])
        #expect(machine.committed == -1, "anybody could say so")
        #expect(tell(announce(1, ranks: 1)) == ["step 0: commit"])
        #expect(tell(request(.begin, 0, "a", step: 1, world: 1)) == ["step 1: sample 0..<4a"])
        #expect(machine.committed == 0)
    }

    @Test mutating func anAttemptThatNoPlanAnnouncesIsNotBegun() {
        advance(to: .begin)
        #expect(tell(request(.begin, 0, "x", attempt: 1 << 47)) == ["w0 < begin notReady", "ask"])
        #expect(tell(request(.parameters, 0, "x", attempt: 1)) == ["w0 < parameters notReady"], "asked already")
        #expect(machine.current == StepID(step: 0, attempt: 0))
        #expect(tell(request(.forward, 0, "f")) == ["step 0: forward 0 f"], "the attempt goes on")
    }

    @Test mutating func aQueryIsAnsweredInAWord() {
        func query(_ phase: StepPhase, _ rank: Int, _ query: StepQuery = .isThere, attempt: Int = 0) -> [String] {
            guard case .request(let peer, var asked, _) = request(phase, rank, attempt: attempt) else { return [] }
            asked.query = query
            return tell(.request(peer, asked))
        }
        #expect(query(.parameters, 0) == ["w0 < parameters missing"])
        #expect(query(.begin, 0) == ["w0 < begin missing"])
        tell(request(.begin, 0, "a"))
        #expect(query(.begin, 0) == ["w0 < begin received"])
        #expect(query(.begin, 1) == ["w1 < begin missing"])
        tell(request(.begin, 1, "b"))
        tell(computed(.sample("s")))
        #expect(query(.begin, 0) == ["w0 < begin answered"], "the answer itself may be on its way")
        #expect(query(.begin, 0, .answer) == ["w0 < begin done s"])
        #expect(query(.forward, 0) == ["w0 < forward missing"])
        for rank in 0..<2 {
            tell(request(.forward, rank, "f"))
            #expect(query(.forward, rank) == ["w\(rank) < forward received"])
            tell(computed(.forward(rank: rank, "p")))
        }
        #expect(query(.forward, 1) == ["w1 < forward answered"])
        #expect(query(.forward, 1, .answer) == ["w1 < forward done p"])
        #expect(query(.backward, 1) == ["w1 < backward missing"])
        for rank in 0..<2 { tell(request(.backward, rank, "z")) }
        #expect(query(.backward, 1) == ["w1 < backward done "])
        #expect(query(.forward, 1) == ["w1 < forward stale 0.0 -1"])
        tell(computed(.backward))
        for rank in 0..<2 { tell(request(.dense, rank, "d")) }
        #expect(query(.dense, 0) == ["w0 < dense received"])
        tell(computed(.dense("n")))
        #expect(query(.update, 0) == ["w0 < update missing"])
        tell(request(.update, 0, "N"))
        #expect(query(.update, 1) == ["w1 < update received"], "any rank's is as good")
        #expect(
            tell(computed(.update("P"))) == ["prepared step 0", "w0 < update done P", "w1 < update done P"])
        #expect(query(.update, 1) == ["w1 < update answered"])
        #expect(query(.update, 1, .answer) == ["w1 < update done P"])
        #expect(query(.begin, 0, attempt: 1) == ["w0 < begin notReady", "ask"])
    }

    @Test mutating func onlyTheRanksOfThePlanTakePart() {
        var plan = Plan.test(id: 0, attempt: 1, ranks: 2, shards: 1)
        plan.ranks[1].incarnation = 7
        tell(.plan(plan))
        func from(_ number: Int, _ incarnation: UInt64, rank: Int) -> Machine.Event {
            guard case .request(let peer, let asked, _) = request(.begin, rank, "l\(rank)", attempt: 1) else {
                return .tick
            }
            return .request(
                peer, asked, from: StepSender(member: MemberID(.worker, number), incarnation: incarnation))
        }
        #expect(tell(from(5, 7, rank: 1)) == ["w1 < begin refused incarnation"], "another member")
        #expect(tell(from(1, 8, rank: 1)) == ["w1 < begin refused incarnation"], "another process of that number")
        #expect(tell(from(1, 7, rank: 0)) == ["w0 < begin refused incarnation"], "another rank")
        #expect(tell(from(1, 7, rank: 1)) == [])
        #expect(
            tell(from(0, 1, rank: 0)) == ["step 0 attempt 1: sample 0..<2l0 2..<4l1"], "the plan does not say which")
    }

    @Test mutating func itSaysWhichRankHasNotCome() throws {
        func missing(_ seconds: Int) -> [String] {
            let waiting = machine.waiting(at: .seconds(seconds))
            return (waiting?.ranks ?? []).map { "\($0.rank) \($0.phase) \(Int($0.seconds))" }
                + (waiting?.isBusy == true ? ["busy"] : [])
        }
        #expect(missing(5) == ["0 begin 5", "1 begin 5"])
        _ = machine.handle(request(.begin, 0), at: .seconds(2))
        #expect(missing(5) == ["1 begin 5"])
        _ = machine.handle(.moving(MemberID(.worker, 1)), at: .seconds(4))
        #expect(missing(5) == ["1 begin 1"], "bytes of it come in")
        _ = machine.handle(request(.begin, 1), at: .seconds(6))
        #expect(missing(9) == ["busy"])
        _ = machine.handle(computed(.sample("s")), at: .seconds(10))
        #expect(missing(13) == ["0 forward 3", "1 forward 3"])
        _ = machine.handle(request(.begin, 0), at: .seconds(12))
        #expect(missing(13) == ["0 forward 3", "1 forward 3"], "nothing new was said")
        advance(to: .update)
        #expect(missing(20) == [])
        #expect(machine.waiting(at: .seconds(20))?.id == StepID(step: 0, attempt: 0))
        tell(committed(0))
        #expect(machine.waiting(at: .seconds(20)) == nil)
    }

    @Test mutating func theNextStepIsNotReadyWhileThisOneIsNotPrepared() {
        advance(to: .dense)
        #expect(tell(request(.begin, 0, "a", step: 1)) == ["w0 < begin notReady", "ask"])
        #expect(tell(request(.begin, 0, "a", step: 7)) == ["w0 < begin notReady"])
        #expect(machine.committed == -1)
        #expect(machine.current == StepID(step: 0, attempt: 0), "nothing was left behind")
    }

    @Test(arguments: [StepPhase.forward, .backward, .dense, .update])
    mutating func aPhaseBeforeItsPredecessorIsNotReady(_ phase: StepPhase) {
        #expect(tell(request(phase, 0)) == ["w0 < \(phase) notReady"])
        tell(request(.begin, 0))
        #expect(tell(request(phase, 0)) == ["w0 < \(phase) notReady"])
        #expect(tell(request(phase, 0, attempt: 1)) == ["w0 < \(phase) notReady", "ask"])
        tell(request(.begin, 1))
        tell(computed(.sample("s")))
        if phase != .forward { #expect(tell(request(phase, 0)) == ["w0 < \(phase) notReady"]) }
    }

    @Test mutating func ranksMustAgree() {
        tell(request(.begin, 0))
        #expect(tell(request(.begin, 1, world: 3)) == ["w1 < begin refused malformed"])
        #expect(tell(request(.begin, 1, learningRate: 0.25)) == ["w1 < begin refused malformed"])
        #expect(tell(request(.begin, 1, exchange: .rows)) == ["w1 < begin refused malformed"])
        #expect(tell(request(.begin, 0, microBatches: 0..<1)) == ["w0 < begin refused malformed"])
        #expect(tell(request(.begin, 1, "b")) == ["step 0: sample 0..<2 2..<4b"], "none of this did harm")
    }

    @Test mutating func requestsOutOfBoundsAreRefused() {
        for bad in [
            request(.begin, 0, world: 0), request(.begin, 2), request(.begin, -1), request(.begin, 0, world: 1_000_000),
            request(.begin, 0, microBatches: 0..<5), request(.begin, 0, step: -1), request(.begin, 0, attempt: -1),
            request(.begin, 0, microBatches: -1..<2),
        ] {
            let answer = tell(bad)
            #expect(answer.count == 1 && answer[0].hasSuffix("refused malformed"), "\(answer)")
        }
        #expect(machine.payloadCount == 0)
    }

    @Test(arguments: [(0..<2, 3..<4), (0..<3, 2..<4), (0..<2, 2..<3), (1..<2, 2..<4), (0..<4, 0..<4)])
    mutating func microBatchesMustCoverTheBatchOnce(_ first: Range<Int>, _ second: Range<Int>) {
        tell(announce(0, attempt: 1, microBatches: [first, second]))
        tell(request(.begin, 0, attempt: 1, microBatches: first))
        let answers = tell(request(.begin, 1, attempt: 1, microBatches: second))
        #expect(answers == ["report", "w0 < begin refused malformed", "w1 < begin refused malformed"])
        #expect(tell(request(.begin, 0, attempt: 1, microBatches: first)) == ["w0 < begin refused malformed"])
        tell(announce(0, attempt: 2, ranks: 1))
        #expect(tell(request(.begin, 0, attempt: 2, world: 1)) == ["step 0 attempt 2: sample 0..<4"])
    }

    @Test mutating func emptyRanksTakePart() {
        tell(announce(0, attempt: 1, microBatches: [0..<4, 4..<4, 0..<0]))
        tell(request(.begin, 0, attempt: 1, world: 3, microBatches: 0..<4))
        tell(request(.begin, 1, attempt: 1, world: 3, microBatches: 4..<4))
        #expect(
            tell(request(.begin, 2, attempt: 1, world: 3, microBatches: 0..<0)) == [
                "step 0 attempt 1: sample 0..<4 4..<4 0..<0"
            ])
    }

    @Test mutating func aFailedComputationRefusesTheAttemptUntilANewerOneBegins() {
        advance(to: .begin)
        tell(request(.forward, 0, "f"))
        tell(request(.forward, 1, "nan"))
        let failed = Machine.Event.failed(
            StepID(step: 0, attempt: 0), .forward(rank: 1), code: .notFinite, message: "feature 3 is nan")
        #expect(tell(failed) == ["report", "w0 < forward refused notFinite", "w1 < forward refused notFinite"])
        let waiting = machine.waiting(at: .zero)
        #expect(waiting?.failure == .init(code: .notFinite, message: "feature 3 is nan", ranks: [1]))
        #expect(waiting?.ranks == [], "it waits for nobody but the coordinator")
        #expect(tell(computed(.forward(rank: 0, "p"))) == [])
        #expect(tell(request(.forward, 0, "f")) == ["w0 < forward refused notFinite"])
        #expect(tell(failed) == [])
        #expect(tell(announce(0, attempt: 1, ranks: 1)) == ["step 0: rollback"])
        #expect(tell(request(.begin, 0, attempt: 1, world: 1)) == ["step 0 attempt 1: sample 0..<4"])
    }

    @Test mutating func parametersAreReadBeforeTheUpdateAndAfterTheRollback() {
        #expect(tell(request(.parameters, 0)) == ["step 0: parameters 0"])
        #expect(tell(request(.parameters, 0)) == [], "being read")
        #expect(tell(computed(.parameters(rank: 0, "W"))) == ["w0 < parameters done W"])
        #expect(tell(request(.parameters, 0)) == ["step 0: parameters 0"], "parameters are not kept")
        tell(computed(.parameters(rank: 0, "W")))
        advance(to: .update)
        #expect(tell(request(.parameters, 0)) == ["w0 < parameters stale 0.0 -1"])
        #expect(tell(announce(0, attempt: 1)) == ["step 0: rollback"])
        #expect(tell(request(.parameters, 0, attempt: 1)) == ["step 0 attempt 1: parameters 0"])
        #expect(tell(request(.parameters, 0, step: 1)) == ["w0 < parameters notReady", "ask"])
    }

    @Test mutating func parametersOfTheNextStepCommitThePreparedOne() {
        advance(to: .update)
        #expect(tell(announce(1)) == ["step 0: commit"])
        #expect(tell(request(.parameters, 1, step: 1)) == ["step 1: parameters 1"])
    }

    @Test mutating func theSliceMapMustBeTheShards() {
        var machine = Machine(member: MemberID(.shard, 0), microBatchCount: 4, empty: "")
        guard case .reply(_, let early)? = machine.handle(request(.begin, 0), at: .zero).first,
            case .notReady = early.outcome
        else {
            Issue.record("a shard without a plan must not answer begin")
            return
        }
        #expect(tell(request(.begin, 0, mapVersion: 2)) == ["w0 < begin notReady"])
        #expect(tell(request(.begin, 0, mapVersion: 0)) == ["w0 < begin refused mapVersion"])
    }
}

extension Plan {
    /// A plan for `ranks` workers and `shards` shards that share four micro-batches and eight slices.
    static func test(
        id step: Int, attempt: Int = 0, ranks: Int = 1, shards: Int, exchange: Exchange = .features,
        activity: Activity = .train, term: Int = 0, revision: Int? = nil, mapVersion: Int = 1, committed: Int? = nil,
        moves: [SliceMove] = []
    ) -> Plan {
        Plan(
            revision: revision ?? 1000 * step + 10 * attempt, id: StepID(term: term, step: step, attempt: attempt),
            committed: committed ?? step - 1, mapVersion: mapVersion, exchange: exchange, learningRate: 0.5,
            ranks: (0..<ranks).map {
                Rank(worker: MemberID(.worker, $0), microBatches: 4 * $0 / ranks..<4 * ($0 + 1) / ranks)
            },
            shards: (0..<shards).map {
                Shard(
                    shard: MemberID(.shard, $0), endpoint: "e\($0)",
                    slices: SliceSet(8 * $0 / shards..<8 * ($0 + 1) / shards),
                    denseSlices: SliceSet(4 * $0 / shards..<4 * ($0 + 1) / shards))
            },
            moves: moves, activity: activity)
    }
}
