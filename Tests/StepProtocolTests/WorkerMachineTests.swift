internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of docs/step-protocol.md for a worker, one test each.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct WorkerMachineTests {
    typealias Machine = WorkerMachine<String>

    private var machine = Machine(
        member: MemberID(.worker, 0),
        timing: WorkerTiming(
            retryInterval: .seconds(2), requestDeadline: .seconds(7), askInterval: .seconds(1),
            maximumAskInterval: .seconds(4)),
        empty: "")
    private var now = Duration.zero

    /// Gives the event to the machine and returns its actions as words.
    @discardableResult
    private mutating func tell(_ event: Machine.Event) -> [String] {
        machine.handle(event, at: now).map { action in
            switch action {
            case .send(let shard, let request): "\(shard) \(request.phase) \(request.payload)"
            case .query(let shard, let request):
                "\(shard) \(request.phase)?" + (request.query == .answer ? " answer" : "")
            case .report(.done(let result)): "done \(result.id) losses \(result.lossSums) norm \(result.gradientNorm)"
            case .report(.failed(let id, let code, let message, _)): "failed \(id) \(code) \(message)"
            case .report(.results(let id, let problem)): "results of \(id) " + (problem ?? "written")
            case .writeResults(let id, let committed): "write results of \(id) after \(committed)"
            case .ask: "ask"
            case .abandon(let id): "abandon \(id)"
            case .compute(_, .labels(let range)): "labels \(range)"
            case .compute(_, .embed(let range)): "embed \(range)"
            case .compute(_, .softmax(let exchange, let replies)):
                "softmax \(exchange) \(replies.joined(separator: " "))"
            case .compute(_, .backpropagate): "backpropagate"
            case .compute(_, .norm(let replies)): "norm \(replies.joined(separator: " "))"
            case .compute(_, .install(let step, let payloads, let after)):
                "install \(step) \(payloads.joined(separator: " "))" + (after.map { " of \($0)" } ?? "")
            }
        }
    }

    private func reply(
        _ shard: Int, _ phase: StepPhase, _ payload: String, step: Int = 0, attempt: Int = 0, rank: Int = 0
    ) -> Machine.Event {
        outcome(shard, phase, .done(payload), step: step, attempt: attempt, rank: rank)
    }

    private func outcome(
        _ shard: Int, _ phase: StepPhase, _ outcome: StepReply<String>.Outcome, step: Int = 0, attempt: Int = 0,
        rank: Int = 0
    ) -> Machine.Event {
        .reply(
            MemberID(.shard, shard),
            StepReply(id: StepID(step: step, attempt: attempt), rank: rank, phase: phase, outcome: outcome))
    }

    private func computed(_ result: WorkerResult<String>, step: Int = 0, attempt: Int = 0) -> Machine.Event {
        .computed(StepID(step: step, attempt: attempt), result)
    }

    /// Passes time and returns what the machine does at its deadlines until `end`, as "seconds: action".
    private mutating func wait(until end: Duration) -> [String] {
        var actions: [String] = []
        while let deadline = machine.nextDeadline, deadline <= end {
            now = max(now, deadline)
            let seconds = now.components.seconds
            actions += tell(.tick).map { "\(seconds): \($0)" }
        }
        now = end
        return actions
    }

    /// Goes through a step with one shard up to the answer of `last`.
    private mutating func advance(to last: StepPhase, step: Int = 0, attempt: Int = 0) {
        tell(.plan(.test(id: step, attempt: attempt, shards: 1)))
        tell(reply(0, .parameters, "P", step: step, attempt: attempt))
        if last == .parameters { return }
        tell(computed(.labels("l"), step: step, attempt: attempt))
        tell(computed(.embed("f"), step: step, attempt: attempt))
        tell(reply(0, .begin, "c", step: step, attempt: attempt))
        if last == .begin { return }
        tell(reply(0, .forward, "p", step: step, attempt: attempt))
        tell(computed(.softmax(["z"], lossSums: [1, 2, 3, 4]), step: step, attempt: attempt))
        if last == .forward { return }
        tell(reply(0, .backward, "", step: step, attempt: attempt))
        tell(computed(.backpropagate(["g"]), step: step, attempt: attempt))
        if last == .backward { return }
        tell(reply(0, .dense, "n", step: step, attempt: attempt))
        tell(computed(.norm("N", gradientNorm: 3), step: step, attempt: attempt))
        if last == .dense { return }
        tell(reply(0, .update, "Q", step: step, attempt: attempt))
    }

    @Test mutating func aStepOfTheFeaturesExchange() {
        #expect(tell(.plan(.test(id: 0, shards: 2))) == ["shard-0 parameters ", "shard-1 parameters "])
        #expect(tell(reply(1, .parameters, "P1")) == [])
        #expect(tell(reply(0, .parameters, "P0")) == ["install -1 P0 P1", "labels 0..<4", "embed 0..<4"])
        #expect(tell(computed(.labels("l"))) == ["shard-0 begin l", "shard-1 begin l"])
        #expect(tell(reply(1, .begin, "c")) == [], "the features are not computed yet")
        #expect(tell(computed(.embed("f"))) == ["shard-1 forward f"])
        #expect(tell(reply(1, .forward, "p1")) == [])
        #expect(tell(reply(0, .begin, "c")) == ["shard-0 forward f"])
        #expect(tell(reply(0, .forward, "p0")) == ["softmax features p0 p1"])
        #expect(
            tell(computed(.softmax(["z0", "z1"], lossSums: [1, 2, 3, 4])))
                == ["shard-0 backward z0", "shard-1 backward z1", "backpropagate"])
        #expect(tell(reply(0, .backward, "")) == [])
        #expect(tell(computed(.backpropagate(["g0", "g1"]))) == ["shard-0 dense g0", "shard-1 dense g1"])
        #expect(tell(reply(1, .backward, "")) == [])
        #expect(tell(reply(1, .dense, "n1")) == [])
        #expect(tell(reply(0, .dense, "n0")) == ["norm n0 n1"])
        #expect(tell(computed(.norm("N", gradientNorm: 3))) == ["shard-0 update N", "shard-1 update N"])
        #expect(tell(reply(0, .update, "Q0")) == [])
        #expect(
            tell(reply(1, .update, "Q1"))
                == ["install 0 Q0 Q1 of step 0", "done step 0 losses [1.0, 2.0, 3.0, 4.0] norm 3.0"])
        #expect(machine.payloadCount == 0)
        #expect(tell(.plan(.test(id: 1, shards: 2))) == ["labels 0..<4", "embed 0..<4"], "the parameters are there")
    }

    @Test mutating func theRowsExchangePullsWithoutWaitingForTheBackbone() {
        tell(.plan(.test(id: 0, shards: 1, exchange: .rows)))
        tell(reply(0, .parameters, "P"))
        tell(computed(.labels("l")))
        #expect(tell(reply(0, .begin, "c")) == ["shard-0 forward "])
        #expect(tell(reply(0, .forward, "rows")) == ["softmax rows rows"], "queued behind the backbone")
        #expect(tell(computed(.embed("f"))) == [])
        #expect(tell(computed(.softmax(["h"], lossSums: [0, 0, 0, 0]))) == ["shard-0 backward h", "backpropagate"])
    }

    @Test mutating func repeatedRepliesAndPlansChangeNothing() {
        advance(to: .forward)
        #expect(tell(reply(0, .forward, "p")) == [])
        #expect(tell(reply(0, .begin, "c")) == [])
        #expect(tell(reply(0, .dense, "n")) == [], "nothing of the kind was asked")
        #expect(tell(reply(0, .backward, "", rank: 1)) == [])
        #expect(tell(reply(3, .backward, "")) == [])
        #expect(tell(.plan(.test(id: 0, shards: 1))) == [])
        #expect(tell(.plan(.test(id: 0, shards: 1, activity: .wait(reason: "late"), revision: -1))) == [])
    }

    @Test mutating func aNewerPlanOfTheSameAttemptChangesNothing() {
        advance(to: .forward)
        let move = SliceMove(slice: .centers(1), from: MemberID(.shard, 0), to: MemberID(.shard, 1))
        #expect(tell(.plan(.test(id: 0, shards: 1, revision: 5, moves: [move]))) == [])
        #expect(tell(reply(0, .backward, "")) == [])
        #expect(tell(computed(.backpropagate(["g"]))) == ["shard-0 dense g"], "the attempt goes on")
        #expect(tell(.plan(.test(id: 0, shards: 1, revision: 4, mapVersion: 2))) == [], "an older one")
        #expect(
            tell(.plan(.test(id: 0, shards: 2, revision: 6, mapVersion: 2)))
                == ["abandon step 0", "labels 0..<4", "embed 0..<4"], "it is computed otherwise")
    }

    @Test mutating func parametersOfAnotherTermArePulledAgain() {
        advance(to: .update)
        tell(.plan(.test(id: 1, shards: 1, activity: .wait(reason: "late"))))
        #expect(tell(.plan(.test(id: 1, shards: 1, term: 1))) == ["shard-0 parameters "])
    }

    @Test(arguments: [StepPhase.parameters, .begin, .forward, .backward, .dense])
    mutating func aNewerAttemptReplacesTheRunningOne(_ reached: StepPhase) {
        advance(to: reached)
        // Another world: two ranks instead of one. The parameters are still those of the committed step.
        #expect(
            tell(.plan(.test(id: 0, attempt: 1, ranks: 2, shards: 1)))
                == ["abandon step 0", "labels 0..<2", "embed 0..<2"])
        #expect(tell(computed(.labels("l"))) == [])
        #expect(tell(reply(0, .begin, "c")) == [])
        #expect(tell(computed(.labels("k"), attempt: 1)) == ["shard-0 begin k"])
        tell(computed(.embed("f"), attempt: 1))
        #expect(tell(reply(0, .begin, "c")) == [], "a late answer of the attempt that was left")
        #expect(tell(reply(0, .begin, "c", attempt: 1)) == ["shard-0 forward f"])
    }

    @Test mutating func parametersOfAnAttemptThatWasAbortedArePulledAgain() {
        advance(to: .update)
        #expect(tell(.plan(.test(id: 0, attempt: 1, shards: 1))) == ["shard-0 parameters "])
        #expect(tell(reply(0, .parameters, "P", attempt: 1)) == ["install -1 P", "labels 0..<4", "embed 0..<4"])
    }

    @Test mutating func parametersArePulledWhenTheWorkerMissedAStep() {
        advance(to: .update)
        #expect(tell(.plan(.test(id: 2, shards: 1))) == ["shard-0 parameters "])
    }

    @Test mutating func aPlanWithoutTheWorkerMakesItIdle() {
        machine = Machine(member: MemberID(.worker, 7), empty: "")
        #expect(tell(.plan(.test(id: 0, shards: 1))) == [])
        #expect(machine.current == nil)
    }

    @Test mutating func anIdleWorkerAsksLessAndLessOften() {
        #expect(wait(until: .seconds(16)) == ["0: ask", "2: ask", "6: ask", "10: ask", "14: ask"])
        tell(.plan(.test(id: 0, shards: 1, activity: .wait(reason: "waiting for 1 of 2 shards"))))
        #expect(wait(until: .seconds(20)) == ["17: ask", "19: ask"])
        tell(.plan(.test(id: 4, shards: 1, activity: .finished)))
        #expect(machine.nextDeadline == nil)
    }

    @Test mutating func requestsAreAskedAboutAndASilentShardIsReported() {
        tell(.plan(.test(id: 0, shards: 1)))
        let actions = wait(until: .seconds(15)).filter { !$0.hasSuffix("ask") }
        let silent = "failed step 0 unresponsive shard-0 has not answered parameters of step 0 for"
        #expect(
            actions == [
                "2: shard-0 parameters?", "4: shard-0 parameters?", "6: shard-0 parameters?", "7: \(silent) 7 s",
                "8: shard-0 parameters?", "10: shard-0 parameters?", "12: shard-0 parameters?",
                "14: shard-0 parameters?",
                "14: \(silent) 14 s",
            ])
        #expect(tell(reply(0, .parameters, "P")) == ["install -1 P", "labels 0..<4", "embed 0..<4"])
    }

    @Test mutating func aPayloadIsSentAgainOnlyIfTheShardSaysThatItIsNotThere() {
        advance(to: .forward)
        now += .seconds(2)
        #expect(tell(.tick).contains("shard-0 backward?"), "the large payload is not repeated")
        #expect(tell(outcome(0, .backward, .missing)) == ["shard-0 backward z"])
        #expect(tell(outcome(0, .backward, .received)) == [])
        now += .seconds(1)
        #expect(tell(.moving(MemberID(.shard, 0))) == [])
        now += .milliseconds(1_900)
        #expect(tell(.tick).allSatisfy { $0 == "ask" }, "bytes have moved less than two seconds ago")
        now += .milliseconds(200)
        #expect(tell(.tick).contains("shard-0 backward?"))
        #expect(tell(outcome(0, .backward, .answered)) == ["shard-0 backward? answer"])
        #expect(tell(reply(0, .backward, "")) == [])
        #expect(tell(outcome(0, .backward, .answered)) == [], "it has come")
    }

    @Test mutating func aShardThatSaysThatItWaitsIsNotSilent() {
        tell(.plan(.test(id: 0, shards: 1)))
        for _ in 0..<20 {
            now += .seconds(2)
            #expect(!tell(.tick).contains { $0.contains("unresponsive") })
            tell(outcome(0, .parameters, .received))
        }
        now += .seconds(8)
        #expect(tell(.tick).contains { $0.contains("unresponsive") })
    }

    @Test mutating func itSaysWhatItDoesAndForWhomItWaits() {
        #expect(machine.activity(unreached: [MemberID(.shard, 3)]) == WorkerActivity(waitsFor: [3]))
        tell(.plan(.test(id: 0, shards: 2)))
        let id = StepID(step: 0, attempt: 0)
        let waiting = machine.activity()
        #expect(waiting.id == id && !waiting.computes && waiting.waitsFor == [0, 1])
        now += .seconds(2)
        tell(.tick)
        tell(outcome(0, .parameters, .received))
        #expect(machine.activity() == waiting, "asking is no progress")
        tell(reply(0, .parameters, "P"))
        let less = machine.activity()
        #expect(less.progress > waiting.progress && less.waitsFor == [1])
        tell(reply(1, .parameters, "P"))
        #expect(machine.activity().computes)
    }

    @Test mutating func theReportIsRepeatedUntilANewerPlan() {
        advance(to: .update)
        let done = "done step 0 losses [1.0, 2.0, 3.0, 4.0] norm 3.0"
        #expect(wait(until: .seconds(5)) == ["2: \(done)", "4: \(done)"])
        #expect(tell(.plan(.test(id: 0, shards: 1))) == [], "the plan it has already done")
        #expect(tell(.plan(.test(id: 1, shards: 1))) == ["labels 0..<4", "embed 0..<4"])
    }

    @Test mutating func aStaleReplyMakesTheWorkerAskForThePlan() {
        advance(to: .begin)
        let newer = StepReply<String>.Outcome.stale(current: StepID(step: 0, attempt: 1), committed: -1)
        #expect(tell(outcome(0, .forward, newer)) == ["ask"])
        #expect(wait(until: .seconds(5)) == ["2: ask"], "nothing more is sent to shards")
        #expect(tell(reply(0, .forward, "p")) == [])
        #expect(tell(.plan(.test(id: 0, attempt: 1, shards: 1))) == ["abandon step 0", "labels 0..<4", "embed 0..<4"])
    }

    @Test mutating func aStaleReplyOfTheSameAttemptIsAnOldRepetition() {
        advance(to: .begin)
        let same = StepReply<String>.Outcome.stale(current: StepID(step: 0, attempt: 0), committed: -1)
        #expect(tell(outcome(0, .forward, same)) == [])
        #expect(tell(reply(0, .forward, "p")) == ["softmax features p"])
    }

    @Test mutating func aShardThatIsNotReadyIsAskedAgain() {
        tell(.plan(.test(id: 0, shards: 1)))
        let notReady = StepReply<String>.Outcome.notReady(current: StepID(step: -1, attempt: 0), committed: -1)
        #expect(tell(outcome(0, .parameters, notReady)) == [])
        // Sooner than the two seconds after which a request without an answer is repeated.
        #expect(wait(until: .seconds(1)).contains("0: shard-0 parameters "))
        tell(reply(0, .parameters, "P"))
        tell(computed(.labels("l")))
        tell(computed(.embed("f")))
        tell(reply(0, .begin, "c"))
        #expect(
            tell(outcome(0, .forward, notReady)) == [
                "failed step 0 unresponsive shard-0 answered begin of step 0 and knows nothing of it at forward"
            ], "only a new attempt helps a shard that has forgotten this one")
    }

    @Test mutating func aRefusalEndsTheAttemptAndIsReported() {
        advance(to: .begin)
        let refused = StepReply<String>.Outcome.refused(code: .notFinite, message: "feature 3 of rank 0 is nan")
        let report = "failed step 0 notFinite shard-0: feature 3 of rank 0 is nan"
        #expect(tell(outcome(0, .forward, refused)) == [report])
        #expect(wait(until: .seconds(2)) == ["2: \(report)"])
        #expect(tell(reply(0, .forward, "p")) == [])
    }

    @Test mutating func aFailedComputationEndsTheAttemptAndIsReported() {
        advance(to: .parameters)
        let failed = Machine.Event.failed(
            StepID(step: 0, attempt: 0), .labels, code: .labelOutOfRange, message: "sample 12 has label 70 of 50")
        #expect(tell(failed) == ["failed step 0 labelOutOfRange labels: sample 12 has label 70 of 50"])
        #expect(tell(computed(.embed("f"))) == [])
    }

    @Test mutating func aFailedInstallEndsWhateverRunsAndPullsAgain() {
        advance(to: .update)
        tell(.plan(.test(id: 1, shards: 1)))
        let failed = Machine.Event.failed(
            StepID(step: 0, attempt: 0), .install, code: .malformed, message: "7 parameters for 8")
        #expect(tell(failed) == ["failed step 1 malformed install: 7 parameters for 8"])
        #expect(tell(.plan(.test(id: 1, attempt: 1, shards: 1))) == ["abandon step 1", "shard-0 parameters "])
    }

    @Test mutating func aWrongNumberOfPayloadsIsReported() {
        advance(to: .begin)
        tell(reply(0, .forward, "p"))
        let report = tell(computed(.softmax(["z", "z"], lossSums: [])))
        #expect(report == ["failed step 0 internalError softmax: softmax gave 2 payloads for 1 shards"])
    }

    @Test mutating func timingsTellTheBackboneFromWaiting() {
        tell(.plan(.test(id: 0, shards: 1)))
        now += .seconds(1)
        tell(reply(0, .parameters, "P"))
        let steps: [(Duration, Machine.Event)] = [
            (.seconds(1), computed(.labels("l"))), (.seconds(10), computed(.embed("f"))),
            (.seconds(2), reply(0, .begin, "c")), (.seconds(3), reply(0, .forward, "p")),
            (.seconds(1), computed(.softmax(["z"], lossSums: [0, 0, 0, 0]))),
            (.seconds(20), computed(.backpropagate(["g"]))), (.seconds(4), reply(0, .dense, "n")),
            (.seconds(1), computed(.norm("N", gradientNorm: 1))),
        ]
        for (duration, event) in steps {
            now += duration
            tell(event)
        }
        now += .seconds(5)
        var result: StepResult?
        for case .report(.done(let done)) in machine.handle(reply(0, .update, "Q"), at: now) { result = done }
        #expect(result?.totalSeconds == 48)
        #expect(result?.backboneSeconds == 30)
        #expect(result?.exchangeSeconds == 15, "waited 1 + 2 + 3 + 4 + 5 s")
        #expect(result?.updateSeconds == 5)
        #expect(result?.shardSeconds == [25], "parameters 1, begin 12, forward 3, dense 4, update 5")
    }

    @Test mutating func resultsAreWrittenWithTheParametersAfterTheLastStep() {
        let writer = MemberID(.worker, 0)
        let plan = Plan.test(id: 4, shards: 1, activity: .finishing(writer: writer))
        #expect(tell(.plan(plan)) == ["shard-0 parameters "])
        #expect(
            tell(reply(0, .parameters, "P", step: 4)) == ["install 3 P", "write results of step 4 after 3"])
        #expect(
            tell(.resultsWritten(StepID(step: 4, attempt: 0), problem: nil)) == ["results of step 4 written"])
        #expect(
            wait(until: now + .seconds(3)).contains { $0.hasSuffix("results of step 4 written") }, "until a newer plan")
    }

    @Test mutating func otherWorkersStandBy() {
        let plan = Plan.test(id: 4, shards: 1, activity: .finishing(writer: MemberID(.worker, 7)))
        #expect(tell(.plan(plan)) == [])
        #expect(machine.nextDeadline != nil, "and ask for what comes next")
    }
}
