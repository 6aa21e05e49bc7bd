internal import StepProtocol
import Testing

/// The rules of docs/step-protocol.md for the coordinator, one test each. Peers are called as their processes.
@Suite struct CoordinatorMachineTests {
    typealias Machine = CoordinatorMachine<String>

    private var machine = Machine(Self.configuration())
    private var now = Duration.zero
    /// Plans sent by the last event, by peer.
    private var plans: [String: Plan] = [:]

    private static func configuration(
        steps: Int = 10, minimumWorkers: Int = 1, microBatches: Int = 4
    ) -> CoordinatorConfiguration {
        CoordinatorConfiguration(
            batchSize: 8, microBatchCount: microBatches, sliceCount: 8, denseSliceCount: 4, expectedShards: 2,
            minimumWorkers: minimumWorkers, totalSteps: steps, exchange: .features, lease: .seconds(10),
            unresponsiveLimit: 2, unresponsiveBackoff: .seconds(1), learningRate: { 1 / Float($0 + 1) })
    }

    /// Gives the event to the machine and returns its actions, without plans, as words.
    @discardableResult
    private mutating func tell(_ event: Machine.Event) -> [String] {
        plans = [:]
        return machine.handle(event, at: now).compactMap { action in
            switch action {
            case .welcome(let peer, let member): return "\(peer) is \(member)"
            case .refuse(let peer, let code, let message): return "\(peer) refused \(code): \(message)"
            case .send(_, let peer, let plan):
                plans[peer] = plan
                return nil
            case .committed(let report): return "committed \(report.step) loss \(report.loss)"
            case .event(let level, let text): return level == .info ? nil : "\(level): \(text)"
            case .finished: return "finished"
            case .failed(let reason): return "failed: \(reason)"
            }
        }
    }

    private mutating func join(_ peer: String, incarnation: UInt64, previous: Int? = nil, step: Int = -1) -> [String] {
        tell(
            .joined(
                peer, role: peer.hasPrefix("s") ? .shard : .worker, incarnation: incarnation, endpoint: "at \(peer)",
                previousNumber: previous, stateStep: step))
    }

    /// Shards s0 and s1 (incarnations 100, 101) and `workers` w0… (incarnations 0…); the run has started.
    private mutating func start(workers: Int) {
        for shard in 0..<2 { _ = join("s\(shard)", incarnation: UInt64(100 + shard)) }
        for worker in 0..<workers { _ = join("w\(worker)", incarnation: UInt64(worker)) }
    }

    private func result(_ rank: Int, norm: Double = 5, losses: [Double]? = nil) -> StepResult {
        let range = machine.plan.ranks[rank].microBatches
        return StepResult(
            id: machine.id, microBatches: range, lossSums: losses ?? range.map { Double($0 + 1) }, gradientNorm: norm,
            backboneSeconds: 1, exchangeSeconds: 1, totalSeconds: 2)
    }

    private func done(_ worker: Int, _ result: StepResult) -> Machine.Event {
        .stepDone("w\(worker)", MemberID(.worker, worker), incarnation: UInt64(worker), result)
    }

    /// Every worker of the world reports the step.
    @discardableResult
    private mutating func commit() -> [String] {
        let ranks = machine.plan.ranks
        let results = ranks.indices.map { result($0) }
        var actions: [String] = []
        for rank in ranks.indices { actions += tell(done(ranks[rank].worker.number, results[rank])) }
        return actions
    }

    private mutating func beat(_ peers: String...) {
        for peer in peers {
            let number = Int(peer.dropFirst()) ?? 0
            let isShard = peer.hasPrefix("s")
            tell(
                .heartbeat(
                    peer, MemberID(isShard ? .shard : .worker, number),
                    incarnation: UInt64(number + (isShard ? 100 : 0)), stateStep: nil))
        }
    }

    private var waits: Bool { if case .wait = machine.activity { true } else { false } }

    @Test mutating func theRunStartsWhenEveryoneIsThere() {
        machine = Machine(Self.configuration(minimumWorkers: 2))
        #expect(join("w0", incarnation: 0) == ["w0 is worker-0"])
        #expect(plans["w0"]?.activity == .wait(reason: "waiting for 2 of 2 shards"))
        #expect(join("s0", incarnation: 100) == ["s0 is shard-0"])
        #expect(join("s1", incarnation: 101) == ["s1 is shard-1"])
        #expect(plans["w0"]?.activity == .wait(reason: "waiting for 1 more workers"))
        #expect(plans["s0"]?.mapVersion == 1)
        #expect(join("w1", incarnation: 1) == ["w1 is worker-1"])
        #expect(plans.keys.sorted() == ["s0", "s1", "w0", "w1"])
        let plan = machine.plan
        #expect(plan.activity == .train)
        #expect(plan.ranks.map(\.microBatches) == [0..<2, 2..<4])
        #expect(plan.shards.map(\.slices) == [0..<4, 4..<8])
        #expect(plan.shards.map(\.denseSlices) == [0..<2, 2..<4])
        #expect(plan.shards.map(\.endpoint) == ["at s0", "at s1"])
    }

    @Test mutating func aStepIsCommittedWhenEveryRankHasReportedIt() {
        start(workers: 1)
        _ = join("w1", incarnation: 1)
        #expect(machine.plan.ranks.count == 1, "who joins is used from the next step on")
        #expect(tell(done(0, result(0))) == ["committed 0 loss 1.25"])
        #expect(machine.plan.ranks.count == 2)
        #expect(plans.keys.sorted() == ["s0", "s1", "w0", "w1"])
        #expect(plans["s0"]?.committed == 0)
        #expect(plans["w0"]?.learningRate == 0.5)
        let first = result(0)
        #expect(tell(done(0, first)) == [])
        #expect(tell(done(0, first)) == [], "counted once")
        #expect(plans["w0"]?.id == StepID(step: 1, attempt: 0), "and answered with the plan")
        #expect(tell(done(1, result(1))) == ["committed 1 loss 1.25"], "the same loss as with one worker")
        #expect(tell(done(0, first)) == [], "a late report of a step that is committed")
        #expect(machine.committed == 1)
    }

    @Test mutating func moreWorkersThanMicroBatchesAreRanksAllTheSame() {
        machine = Machine(Self.configuration(minimumWorkers: 3, microBatches: 2))
        start(workers: 3)
        #expect(machine.plan.ranks.map(\.microBatches) == [0..<0, 0..<1, 1..<2])
        #expect(commit() == ["committed 0 loss 0.375"])
    }

    @Test mutating func aWorkerThatGoesMidStepIsDoneWithout() {
        machine = Machine(Self.configuration(minimumWorkers: 2))
        start(workers: 2)
        let old = result(0)
        #expect(tell(done(0, old)) == [])
        let actions = tell(.left(MemberID(.worker, 1), incarnation: 1))
        #expect(actions == ["warning: worker-1 left", "warning: step 0 is aborted: worker-1 is gone"])
        #expect(plans["w0"]?.id == StepID(step: 0, attempt: 1))
        #expect(plans["w0"]?.ranks.map(\.microBatches) == [0..<4])
        #expect(tell(done(0, old)) == [], "a report of the attempt that was aborted")
        #expect(commit() == ["committed 0 loss 1.25"])
    }

    @Test mutating func aWorkerThatIsSilentForALeaseIsForgotten() {
        machine = Machine(Self.configuration(minimumWorkers: 2))
        start(workers: 2)
        now = .seconds(6)
        beat("w0", "s0", "s1")
        #expect(machine.nextDeadline == .seconds(10))
        now = .seconds(10)
        #expect(tell(.tick).contains("warning: step 0 is aborted: worker-1 is gone"))
        #expect(machine.plan.ranks.map(\.worker.number) == [0])
        let zombie = tell(.ready("w1", MemberID(.worker, 1), incarnation: 1))
        #expect(zombie == ["w1 refused notWelcomed: worker-1 is not a member any more; join again"])
        #expect(join("w1", incarnation: 1) == ["w1 is worker-2"])
    }

    @Test mutating func withoutWorkersTheStepWaits() {
        start(workers: 1)
        tell(.left(MemberID(.worker, 0), incarnation: 0))
        #expect(machine.activity == .wait(reason: "waiting for 1 more workers"))
        #expect(machine.id == StepID(step: 0, attempt: 1))
        _ = join("w1", incarnation: 1)
        #expect(machine.activity == .train)
        #expect(machine.id == StepID(step: 0, attempt: 1))
    }

    @Test mutating func aSilentShardIsWaitedFor() {
        start(workers: 1)
        commit()
        now = .seconds(9)
        beat("w0", "s0")
        now = .seconds(10)
        tell(.tick)
        #expect(
            machine.activity
                == .wait(reason: "shard-1 at at s1 does not answer; step 1 waits for it to return"))
        #expect(machine.id == StepID(step: 1, attempt: 1))
        tell(.tick)
        #expect(machine.id == StepID(step: 1, attempt: 1), "aborted once")
        now = .seconds(15)
        beat("s1")
        #expect(machine.activity == .train)
        #expect(plans["s1"]?.id == StepID(step: 1, attempt: 1))
        #expect(commit() == ["committed 1 loss 1.25"])
    }

    @Test mutating func aShardKeepsItsNumberWithItsIncarnation() {
        start(workers: 1)
        commit()
        #expect(join("s1", incarnation: 101, previous: 1, step: 0) == ["s1 is shard-1"])
        #expect(machine.id == StepID(step: 1, attempt: 0), "it was never gone")
    }

    @Test mutating func aShardThatLostItsStateEndsTheRun() {
        start(workers: 1)
        commit()
        let actions = join("s1", incarnation: 999)
        let message = "shard-1 came back without its state, but step 0 is committed"
        #expect(actions.contains("s1 refused stateLost: \(message)"))
        #expect(actions.contains("failed: \(message); what it held is lost, start the run again"))
        #expect(plans["w0"]?.activity == .failed(reason: "\(message); what it held is lost, start the run again"))
        #expect(tell(.resume) == [], "said once")
    }

    @Test mutating func beforeTheFirstCommitAShardMayStartAgain() {
        start(workers: 1)
        #expect(
            join("s1", incarnation: 999)
                == ["warning: step 0 is aborted: shard-1 was replaced", "s1 is shard-1"])
        #expect(machine.plan.id == StepID(step: 0, attempt: 1))
        let zombie = tell(.heartbeat("old", MemberID(.shard, 1), incarnation: 101, stateStep: -1))
        #expect(zombie == ["old refused incarnation: another process is shard-1 now; join again"])
        #expect(commit() == ["committed 0 loss 1.25"])
    }

    @Test mutating func aShardThatRestoredItsStateTakesItsNumberAgain() {
        start(workers: 1)
        commit()
        tell(.left(MemberID(.shard, 1), incarnation: 101))
        #expect(waits)
        #expect(join("s9", incarnation: 999, previous: 1, step: 0) == ["s9 is shard-1"])
        #expect(machine.activity == .train)
        #expect(machine.plan.shards[1].endpoint == "at s9")
    }

    @Test mutating func aStrangerDoesNotReplaceAShardAndEndsNothing() {
        start(workers: 1)
        #expect(join("s9", incarnation: 900)[0].hasPrefix("s9 refused configuration: all 2 shards are there"))
        commit()
        tell(.left(MemberID(.shard, 1), incarnation: 101))
        #expect(join("s9", incarnation: 900)[0].hasPrefix("s9 refused stateLost: a shard at at s9 joined without"))
        #expect(waits, "the one that has the state may still return")
    }

    @Test mutating func aShardThatDoesNotAnswerIsTriedAgainAFewTimes() {
        start(workers: 1)
        func failed() -> Machine.Event {
            .stepFailed(
                "w0", MemberID(.worker, 0), incarnation: 0, machine.id, code: .unresponsive,
                message: "shard-1 has not answered forward for 120 s")
        }
        let old = failed()
        tell(old)
        #expect(waits)
        #expect(machine.id == StepID(step: 0, attempt: 1))
        tell(old)
        #expect(machine.id == StepID(step: 0, attempt: 1), "a report of the attempt before")
        #expect(machine.nextDeadline == .seconds(1))
        now = .seconds(1)
        tell(.tick)
        #expect(machine.activity == .train)
        tell(failed())
        #expect(machine.nextDeadline == .seconds(3), "twice the pause")
        now = .seconds(3)
        tell(.tick)
        let end = tell(failed()).last
        #expect(
            end == "failed: step 0 attempt 2: rank 0 (worker-0): shard-1 has not answered forward for 120 s; "
                + "given up after 3 attempts")
    }

    @Test(arguments: [RefusalCode.labelOutOfRange, .notFinite, .malformed])
    mutating func wrongInputEndsTheRun(_ code: RefusalCode) {
        start(workers: 1)
        let actions = tell(
            .stepFailed(
                "w0", MemberID(.worker, 0), incarnation: 0, machine.id, code: code, message: "shard-1: layer 3 is nan"))
        #expect(actions.contains("failed: step 0: rank 0 (worker-0): shard-1: layer 3 is nan"))
        #expect(plans.count == 3, "everyone is told")
    }

    @Test mutating func ranksThatDisagreeEndTheRun() {
        machine = Machine(Self.configuration(minimumWorkers: 2))
        start(workers: 2)
        tell(done(0, result(0)))
        let actions = tell(done(1, result(1, norm: 5.000000001)))
        #expect(actions.contains { $0.hasPrefix("failed: step 0: rank 1 (worker-1) has gradient norm 5.000000001") })
        #expect(machine.committed == -1)
    }

    @Test(arguments: [([Double.nan, 0, 0, 0], 1.0), ([0, 0, 0, 0], .infinity)])
    mutating func aLossThatIsNotFiniteEndsTheRun(_ losses: [Double], _ norm: Double) {
        start(workers: 1)
        #expect(
            tell(done(0, result(0, norm: norm, losses: losses))).contains {
                $0.hasPrefix("failed: step 0: the loss is")
            })
        #expect(machine.committed == -1)
    }

    @Test mutating func aResultOfTheWrongShapeIsRefused() {
        start(workers: 1)
        #expect(tell(done(0, result(0, losses: [1])))[0].hasPrefix("w0 refused malformed: step 0: worker-0 reports 1"))
        #expect(commit() == ["committed 0 loss 1.25"])
    }

    @Test mutating func pauseAndStopTakeEffectAtTheBoundary() {
        start(workers: 1)
        #expect(tell(.pause) == [])
        #expect(machine.activity == .train)
        #expect(commit() == ["committed 0 loss 1.25"])
        #expect(machine.activity == .wait(reason: "paused after step 0"))
        #expect(plans["s0"]?.committed == 0)
        tell(.resume)
        #expect(machine.activity == .train)
        tell(.stop)
        #expect(commit() == ["committed 1 loss 1.25"])
        #expect(machine.activity == .finished)
    }

    @Test mutating func theRunIsFinishedWhenEveryShardKnows() {
        machine = Machine(Self.configuration(steps: 1))
        start(workers: 1)
        #expect(commit() == ["committed 0 loss 1.25"])
        #expect(plans["w0"]?.activity == .finished)
        #expect(plans["s0"]?.committed == 0)
        let behind = tell(.heartbeat("s0", MemberID(.shard, 0), incarnation: 100, stateStep: -1))
        #expect(behind == [])
        #expect(plans["s0"]?.committed == 0, "told again")
        #expect(tell(.heartbeat("s0", MemberID(.shard, 0), incarnation: 100, stateStep: 0)) == [])
        #expect(tell(.heartbeat("s1", MemberID(.shard, 1), incarnation: 101, stateStep: 0)) == ["finished"])
        #expect(tell(.tick) == [])
    }

    @Test mutating func theEndDoesNotWaitForAShardThatIsGone() {
        machine = Machine(Self.configuration(steps: 1))
        start(workers: 1)
        commit()
        tell(.heartbeat("s0", MemberID(.shard, 0), incarnation: 100, stateStep: 0))
        now = .seconds(10)
        #expect(tell(.tick).last == "finished")
    }

    @Test mutating func anUnknownMemberIsRefused() {
        for member in [MemberID(.worker, 5), MemberID(.shard, 5), MemberID(.shard, -1), MemberID(.operator, 0)] {
            let answer = tell(.heartbeat("x", member, incarnation: 0, stateStep: nil))
            #expect(answer == ["x refused notWelcomed: \(member) is not a member any more; join again"])
        }
        let asOperator = tell(
            .joined("o", role: .operator, incarnation: 1, endpoint: "", previousNumber: nil, stateStep: -1))
        #expect(asOperator == ["o refused unknownRequest: an operator is not a member of the cluster"])
    }

    @Test mutating func statusSaysWhoDoesWhatAndWhoIsLate() {
        machine = Machine(Self.configuration(minimumWorkers: 2))
        start(workers: 2)
        commit()
        tell(done(0, result(0)))
        now = .seconds(6)
        beat("w0", "w1", "s0")
        let status = machine.status(at: now)
        #expect(status.committed == 0)
        #expect(status.current == StepID(step: 1, attempt: 0))
        #expect(status.history.map(\.loss) == [1.25])
        #expect(status.members.map(\.id.description) == ["shard-0", "shard-1", "worker-0", "worker-1"])
        #expect(status.members.map(\.isLate) == [false, true, false, true])
        #expect(status.members.map(\.slices) == [0..<4, 4..<8, nil, nil])
        #expect(status.members.map(\.rank) == [nil, nil, 0, 1])
        #expect(status.members[1].age == .seconds(6))
        #expect(status.members[2].lastResult?.totalSeconds == 2)
    }

    @Test mutating func historyIsBounded() {
        var configuration = Self.configuration(steps: 100)
        configuration.lossHistory = 3
        machine = Machine(configuration)
        start(workers: 1)
        for _ in 0..<5 { commit() }
        #expect(machine.status(at: now).history.map(\.step) == [2, 3, 4])
    }

    @Test mutating func noMoreWorkersThanAPlanHolds() {
        var configuration = Self.configuration()
        #expect(configuration.maximumWorkers == Plan.memberLimit)
        configuration.maximumWorkers = 8
        machine = Machine(configuration)
        for worker in 0..<8 {
            #expect(join("w\(worker)", incarnation: UInt64(worker)) == ["w\(worker) is worker-\(worker)"])
        }
        let refusal = join("late", incarnation: 1 << 40)
        #expect(refusal.count == 1 && refusal[0].hasPrefix("late refused configuration"))
        #expect(join("w7", incarnation: 7) == ["w7 is worker-7"])
    }

    @Test mutating func membersAreKnownByNumberAndIncarnation() {
        start(workers: 1)
        #expect(machine.isMember(MemberID(.shard, 1), incarnation: 101))
        #expect(machine.isMember(MemberID(.worker, 0), incarnation: 0))
        #expect(!machine.isMember(MemberID(.shard, 1), incarnation: 100))
        #expect(!machine.isMember(MemberID(.shard, 1 << 24), incarnation: 0))
        #expect(!machine.isMember(MemberID(.operator, 0), incarnation: 0))
    }

    @Test mutating func onlyPlansWithinTheRunFit() {
        start(workers: 1)
        let plan = machine.plan
        func misfit(_ change: (inout Plan) -> Void) -> String? {
            var plan = plan
            change(&plan)
            return plan.misfit(microBatchCount: 4, sliceCount: 8, denseSliceCount: 4, totalSteps: 10)
        }
        #expect(misfit { _ in } == nil)
        #expect(misfit { $0.id.step = 10 } != nil)
        #expect(
            misfit {
                $0.id.step = 10
                $0.activity = .finished
            } == nil)
        #expect(misfit { $0.ranks[0].microBatches = 2..<5 } == "micro-batches 2..<5 of 4 for worker-0")
        #expect(misfit { $0.ranks[0].microBatches = -1..<0 } != nil)
        #expect(misfit { $0.shards[1].slices = 4..<9 } == "slices 4..<9 of 8 for shard-1")
        #expect(misfit { $0.shards[0].denseSlices = 0..<5 } == "dense slices 0..<5 of 4 for shard-0")
    }
}
