internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// A step is committed as one attempt: members that hold another one notice.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct AttemptIdentityTests {
    private static let first = StepID(term: 1, step: 0, attempt: 0)
    private static let second = StepID(term: 1, step: 0, attempt: 1)

    private func plan(committed: StepID?) -> Plan {
        var plan = Plan.test(id: 1, shards: 1, term: 1)
        plan.committedID = committed
        return plan
    }

    // MARK: Shards

    private func shard(prepared: StepID) -> ShardMachine<String, String> {
        ShardMachine(
            member: MemberID(.shard, 0), microBatchCount: 4, prepared: prepared,
            holdings: ShardHoldings(slices: SliceSet(0..<8), denseSlices: SliceSet(0..<4)), empty: "")
    }

    @Test func aShardCommitsTheAttemptThatThePlanNames() {
        var shard = shard(prepared: Self.second)
        _ = shard.handle(.plan(plan(committed: Self.second)), at: .zero)
        #expect(shard.committed == 0)
    }

    @Test func aShardCommitsNoOtherAttempt() {
        var shard = shard(prepared: Self.first)
        let actions = shard.handle(.plan(plan(committed: Self.second)), at: .zero)
        #expect(shard.committed == -1)
        #expect(shard.prepared == Self.first)
        #expect(!actions.contains { if case .compute(_, .commit) = $0 { true } else { false } })
    }

    @Test func aShardCommitsWhatItHasIfThePlanDoesNotSayWhich() {
        var shard = shard(prepared: Self.first)
        _ = shard.handle(.plan(plan(committed: nil)), at: .zero)
        #expect(shard.committed == 0)
    }

    @Test func aSkippedStepIsNoAttempt() {
        var skipped = shard(prepared: .skipped(0))
        _ = skipped.handle(.plan(plan(committed: .skipped(0))), at: .zero)
        #expect(skipped.committed == 0)
        var attempted = shard(prepared: StepID(term: 1, step: 0, attempt: 0))
        _ = attempted.handle(.plan(plan(committed: .skipped(0))), at: .zero)
        #expect(attempted.committed == -1)
    }

    // MARK: Requests

    /// What a shard answers to a worker that goes on from `held`, while `second` is the committed attempt.
    private func answer(to held: StepID?) -> StepReply<String>.Outcome? {
        var shard = shard(prepared: Self.second)
        let plan = plan(committed: Self.second)
        _ = shard.handle(.plan(plan), at: .zero)
        let request = StepRequest(
            id: plan.id, rank: 0, worldSize: plan.ranks.count, mapVersion: plan.mapVersion, phase: .begin,
            committed: 0, exchange: plan.exchange, learningRate: plan.learningRate,
            microBatches: plan.ranks[0].microBatches, payload: "l", committedID: held)
        return shard.handle(.request("w", request), at: .zero).compactMap {
            if case .reply(_, let reply) = $0 { reply.outcome } else { nil }
        }.first
    }

    @Test func aRequestThatGoesOnFromAnotherAttemptIsRefused() {
        guard case .refused(.malformed, let message) = answer(to: Self.first) else {
            Issue.record("it is taken")
            return
        }
        #expect(
            message
                == "rank 0 of step 1 goes on from step 0 attempt 0 of term 1, committed is step 0 attempt 1 of term 1: what it holds is not the cluster's state"
        )
    }

    @Test(arguments: [Self.second, nil])
    func aRequestThatGoesOnFromTheCommittedAttemptOrDoesNotSayIsTaken(_ held: StepID?) {
        #expect(answer(to: held) == nil, "it waits for nobody and is being sampled")
    }

    // MARK: Workers

    /// A worker has done an attempt of step 0, and hears nothing until step 1 begins.
    private func worker(after committed: StepID?) -> [StepPhase] {
        var worker = WorkerMachine<String>(member: MemberID(.worker, 0), empty: "")
        let id = Self.first
        func reply(_ phase: StepPhase) -> WorkerMachine<String>.Event {
            .reply(MemberID(.shard, 0), StepReply(id: id, rank: 0, phase: phase, outcome: .done("x")))
        }
        let events: [WorkerMachine<String>.Event] = [
            .plan(.test(id: 0, shards: 1, term: 1)), reply(.parameters), .computed(id, .labels("l")),
            .computed(id, .embed("f")),
            reply(.begin), reply(.forward), .computed(id, .softmax(["b"], lossSums: [1])), reply(.backward),
            .computed(id, .backpropagate(["d"])), reply(.dense), .computed(id, .norm("n", gradientNorm: 1)),
            reply(.update),
        ]
        for event in events { _ = worker.handle(event, at: .zero) }
        return worker.handle(.plan(plan(committed: committed)), at: .zero).compactMap {
            if case .send(_, let request) = $0 { request.phase } else { nil }
        }
    }

    @Test func parametersOfAnAttemptThatWasNotCommittedArePulledAgain() {
        #expect(worker(after: Self.second) == [.parameters])
        #expect(worker(after: .skipped(0)) == [.parameters])
    }

    @Test func parametersOfTheCommittedAttemptAreGoodForTheNextStep() {
        #expect(worker(after: Self.first) == [])
        #expect(worker(after: nil) == [], "as long as nobody says which it was")
    }
}
