internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of docs/step-protocol.md for steps, workers and the end of a run, one test each.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineTests {
    private var cluster = CoordinatorFixture()

    @Test mutating func theRunStartsWhenEveryoneIsThere() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(minimumWorkers: 2))
        #expect(cluster.join("w0", incarnation: 0) == ["w0 is worker-0"])
        #expect(cluster.plans["w0"]?.activity == .wait(reason: "waiting for 2 of 2 shards"))
        #expect(cluster.join("s0", incarnation: 100) == ["s0 is shard-0"])
        #expect(cluster.join("s1", incarnation: 101) == ["s1 is shard-1"])
        #expect(cluster.plans["w0"]?.activity == .wait(reason: "waiting for 1 more worker"))
        #expect(cluster.plans["s0"]?.mapVersion == 1)
        #expect(cluster.join("w1", incarnation: 1) == ["w1 is worker-1"])
        #expect(cluster.plans.keys.sorted() == ["s0", "s1", "w0", "w1"])
        let plan = cluster.machine.plan
        #expect(plan.activity == .train)
        #expect(plan.ranks.map(\.microBatches) == [0..<2, 2..<4])
        #expect(plan.shards.map(\.slices) == [SliceSet(0..<4), SliceSet(4..<8)])
        #expect(plan.shards.map(\.denseSlices) == [SliceSet(0..<2), SliceSet(2..<4)])
        #expect(plan.shards.map(\.endpoint) == ["at s0", "at s1"])
    }

    @Test mutating func aStepIsCommittedWhenEveryRankHasReportedIt() {
        cluster.start(workers: 1)
        _ = cluster.join("w1", incarnation: 1)
        #expect(cluster.machine.plan.ranks.count == 1, "who joins is used from the next step on")
        cluster.prepare()
        #expect(cluster.tell(cluster.done(0, cluster.result(0))) == ["committed 0 loss 1.25"])
        #expect(cluster.machine.plan.ranks.count == 2)
        #expect(cluster.plans.keys.sorted() == ["s0", "s1", "w0", "w1"])
        #expect(cluster.plans["s0"]?.committed == 0)
        #expect(cluster.plans["w0"]?.learningRate == 0.5)
        cluster.prepare()
        let first = cluster.result(0)
        #expect(cluster.tell(cluster.done(0, first)) == [])
        #expect(cluster.tell(cluster.done(0, first)) == [], "counted once")
        #expect(cluster.plans["w0"]?.id == StepID(term: 1, step: 1, attempt: 0), "and answered with the plan")
        #expect(
            cluster.tell(cluster.done(1, cluster.result(1))) == ["committed 1 loss 1.25"],
            "the same loss as with one worker")
        #expect(cluster.tell(cluster.done(0, first)) == [], "a late report of a step that is committed")
        #expect(cluster.machine.committed == 1)
    }

    @Test mutating func moreWorkersThanMicroBatchesAreRanksAllTheSame() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(minimumWorkers: 3, microBatches: 2))
        cluster.start(workers: 3)
        #expect(cluster.machine.plan.ranks.map(\.microBatches) == [0..<0, 0..<1, 1..<2])
        #expect(cluster.commit() == ["committed 0 loss 0.375"])
    }

    @Test mutating func aWorkerThatGoesMidStepIsDoneWithout() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(minimumWorkers: 2))
        cluster.start(workers: 2)
        let old = cluster.result(0)
        #expect(cluster.tell(cluster.done(0, old)) == [])
        #expect(
            cluster.tell(.left(MemberID(.worker, 1), incarnation: 1)) == [], "whoever goes on purpose is no warning")
        #expect(cluster.plans["w0"]?.id == StepID(term: 1, step: 0, attempt: 1))
        #expect(cluster.plans["w0"]?.ranks.map(\.microBatches) == [0..<4])
        #expect(cluster.tell(cluster.done(0, old)) == [], "a report of the attempt that was aborted")
        #expect(cluster.commit() == ["committed 0 loss 1.25"])
    }

    @Test mutating func withoutWorkersTheStepWaits() {
        cluster.start(workers: 1)
        cluster.tell(.left(MemberID(.worker, 0), incarnation: 0))
        #expect(cluster.machine.activity == .wait(reason: "waiting for 1 more worker"))
        #expect(cluster.machine.id == StepID(term: 1, step: 0, attempt: 1))
        _ = cluster.join("w1", incarnation: 1)
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id == StepID(term: 1, step: 0, attempt: 1))
    }

    @Test(arguments: [RefusalCode.labelOutOfRange, .malformed, .configuration])
    mutating func wrongInputEndsTheRun(_ code: RefusalCode) {
        cluster.start(workers: 1)
        let actions = cluster.tell(cluster.failed(code, "shard-1: layer 3 is nan"))
        #expect(actions.contains("failed: step 0: rank 0 (worker-0): shard-1: layer 3 is nan"))
        #expect(cluster.plans.count == 3, "everyone is told")
    }

    @Test mutating func ranksThatDisagreeEndTheRun() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(minimumWorkers: 2))
        cluster.start(workers: 2)
        cluster.prepare()
        cluster.tell(cluster.done(0, cluster.result(0)))
        let actions = cluster.tell(cluster.done(1, cluster.result(1, norm: 5.000000001)))
        #expect(actions.contains { $0.hasPrefix("failed: step 0: rank 1 (worker-1) has gradient norm 5.000000001") })
        #expect(cluster.machine.committed == -1)
    }

    @Test(arguments: [([Double.nan, 0, 0, 0], 1.0), ([0, 0, 0, 0], .infinity)])
    mutating func aLossThatIsNotFiniteEndsTheRun(_ losses: [Double], _ norm: Double) {
        cluster.start(workers: 1)
        cluster.prepare()
        #expect(
            cluster.tell(cluster.done(0, cluster.result(0, norm: norm, losses: losses))).contains {
                $0.hasPrefix("failed: step 0: the loss is")
            })
        #expect(cluster.machine.committed == -1)
    }

    @Test mutating func aResultOfTheWrongShapeIsRefused() {
        cluster.start(workers: 1)
        #expect(
            cluster.tell(cluster.done(0, cluster.result(0, losses: [1])))[0].hasPrefix(
                "w0 refused malformed: step 0: worker-0 reports 1"))
        #expect(cluster.commit() == ["committed 0 loss 1.25"])
    }

    @Test mutating func aWorkerThatIsSilentForALeaseIsForgotten() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(minimumWorkers: 2))
        cluster.start(workers: 2)
        cluster.pass(9, alive: ["w0", "s0", "s1"])
        #expect(cluster.machine.plan.ranks.count == 2)
        #expect(cluster.machine.nextDeadline == .seconds(10))
        cluster.now = .seconds(10)
        #expect(cluster.tell(.tick).contains("warning: step 0 is aborted: worker-1 is gone"))
        #expect(cluster.machine.plan.ranks.map(\.worker.number) == [0])
        let zombie = cluster.tell(.ready("w1", MemberID(.worker, 1), incarnation: 1))
        #expect(zombie == ["w1 refused notWelcomed: worker-1 is not a member any more; join again"])
        #expect(cluster.join("w1") == ["w1 is worker-2"])
    }

    @Test mutating func aSilentShardIsWaitedFor() {
        cluster.start()
        cluster.commit()
        cluster.pass(10, alive: ["w0", "s0"])
        #expect(
            cluster.waits
                == "shard-1 at at s1 does not answer; step 1 waits for it to return; if its directory is lost, start the run anew: there is no checkpoint to go back to"
        )
        #expect(cluster.machine.id == StepID(term: 1, step: 1, attempt: 1))
        cluster.pass(3, alive: ["w0", "s0"])
        #expect(cluster.machine.id == StepID(term: 1, step: 1, attempt: 1), "aborted once")
        cluster.beat("s1")
        #expect(cluster.machine.activity == .train)
        #expect(cluster.plans["s1"]?.id == StepID(term: 1, step: 1, attempt: 1))
        #expect(cluster.commit() == ["committed 1 loss 1.25"])
    }

    @Test mutating func aCoordinatorThatSleptBlamesNobody() {
        cluster.start()
        cluster.pass(5, alive: ["w0", "s0", "s1"])
        cluster.now += .seconds(3600)
        cluster.tell(.tick)
        #expect(cluster.machine.activity == .train)
        cluster.pass(9)
        #expect(cluster.machine.activity == .train)
        cluster.pass(1)
        #expect(cluster.waits != nil, "they have a lease from when it woke up")
    }

    @Test mutating func aClusterInWhichEveryoneIsDeadIsNotedAllTheSame() {
        cluster.start()
        // Nothing happens but the ticks that the machine itself asks for.
        while let deadline = cluster.machine.nextDeadline, deadline < .seconds(30) {
            cluster.now = deadline
            cluster.tell(.tick)
        }
        #expect(
            cluster.waits
                == "shard-0, shard-1 do not answer; step 0 waits for them to return; if their directory is lost, start the run anew: there is no checkpoint to go back to"
        )
        #expect(cluster.database.members.keys.filter { $0.role == .worker } == [])
    }

    @Test mutating func aShardThatDoesNotAnswerIsTriedAgainEverLessOften() {
        cluster.start()
        let text = "shard-1 has not answered forward for 120 s"
        let old = cluster.failed(.unresponsive, text)
        cluster.tell(old)
        #expect(cluster.waits != nil)
        #expect(cluster.machine.id == StepID(term: 1, step: 0, attempt: 1))
        cluster.tell(old)
        #expect(cluster.machine.id == StepID(term: 1, step: 0, attempt: 1), "a report of the attempt before")
        #expect(cluster.machine.nextDeadline == .seconds(1))
        cluster.now = .seconds(1)
        cluster.tell(.tick)
        #expect(cluster.machine.activity == .train)
        cluster.tell(cluster.failed(.unresponsive, text))
        #expect(cluster.machine.nextDeadline == .seconds(3), "twice the pause")
        cluster.now = .seconds(3)
        cluster.tell(.tick)
        for _ in 0..<20 {
            cluster.tell(cluster.failed(.unresponsive, text))
            cluster.pass(60, alive: ["s0", "s1", "w0"])
            #expect(cluster.machine.activity == .train, "nobody else could go on: it is tried for ever")
        }
    }

    @Test mutating func aFullDiskIsNotSilence() {
        cluster.start()
        cluster.beat("s1", report: ShardReport(committed: -1, durable: -1, obstacle: "the disk is full"))
        for _ in 0..<10 { cluster.tell(cluster.failed(.unresponsive, "shard-1 has not answered")) }
        #expect(cluster.machine.id == StepID(term: 1, step: 0, attempt: 0), "the step waits for room")
        #expect(cluster.machine.status(at: cluster.now).members[2].report?.obstacle == "the disk is full")
        cluster.beat("s1")
        cluster.tell(cluster.failed(.unresponsive, "shard-1 has not answered"))
        #expect(cluster.machine.id == StepID(term: 1, step: 0, attempt: 1))
    }

    @Test mutating func aRunPausesWhereItsConfigurationSaysSo() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration { $0.pauseAfter = 2 })
        cluster.start()
        cluster.commit()
        #expect(cluster.machine.activity == .train)
        cluster.commit()
        #expect(cluster.waits == "paused after step 1")
        #expect(cluster.database.isPaused)
        cluster.tell(.resume)
        cluster.commit()
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func pauseAndStopTakeEffectAtTheBoundaryAndAreTakenBack() {
        cluster.start()
        #expect(cluster.tell(.pause) == [])
        #expect(cluster.machine.activity == .train)
        #expect(cluster.commit() == ["committed 0 loss 1.25"])
        #expect(cluster.waits == "paused after step 0")
        #expect(cluster.plans["s0"]?.committed == 0)
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)", state: CoordinatorFixture.holding(0)) }
        cluster.beat("w0")
        #expect(cluster.waits == "paused after step 0", "also after a restart")
        cluster.tell(.resume)
        #expect(cluster.machine.activity == .train)
        cluster.tell(.stop)
        #expect(cluster.commit() == ["committed 1 loss 1.25"])
        #expect(cluster.machine.activity == .finished)
        cluster.tell(.resume)
        #expect(cluster.machine.activity == .train)
        #expect(cluster.commit() == ["committed 2 loss 1.25"])
    }

    @Test mutating func theRunIsFinishedWhenEveryShardKnows() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 1))
        cluster.start()
        #expect(cluster.commit() == ["committed 0 loss 1.25"])
        #expect(cluster.plans["w0"]?.activity == .finished)
        #expect(cluster.plans["s0"]?.committed == 0)
        #expect(cluster.beat("s0", report: ShardReport(committed: -1, durable: -1)) == [])
        #expect(cluster.plans["s0"]?.committed == 0, "told again")
        #expect(cluster.beat("s0") == [])
        #expect(cluster.beat("s1") == ["finished"])
        #expect(cluster.tell(.tick) == [])
    }

    @Test mutating func theEndDoesNotWaitForAShardThatIsGone() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 1))
        cluster.start()
        cluster.commit()
        cluster.beat("s0")
        #expect(cluster.tell(.left(MemberID(.shard, 1), incarnation: 101)).last == "finished")
    }

    @Test mutating func anUnknownMemberIsRefused() {
        for member in [MemberID(.worker, 5), MemberID(.shard, 5), MemberID(.shard, -1), MemberID(.operator, 0)] {
            let answer = cluster.tell(.heartbeat("x", member, incarnation: 0, report: nil))
            #expect(answer == ["x refused notWelcomed: \(member) is not a member any more; join again"])
        }
        let asOperator = cluster.tell(
            .joined("o", role: .operator, incarnation: 1, endpoint: "", previousNumber: nil, state: nil))
        #expect(asOperator == ["o refused unknownRequest: an operator is not a member of the cluster"])
    }

    @Test mutating func statusSaysWhoDoesWhatAndWhoIsLate() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(minimumWorkers: 2))
        cluster.start(workers: 2)
        cluster.commit()
        cluster.tell(cluster.done(0, cluster.result(0)))
        cluster.pass(6, alive: ["w0", "w1", "s0"])
        let status = cluster.machine.status(at: cluster.now)
        #expect(status.committed == 0)
        #expect(status.current == StepID(term: 1, step: 1, attempt: 0))
        #expect(status.history.map(\.loss) == [1.25])
        #expect(status.members.map(\.id.description) == ["worker-0", "worker-1", "shard-0", "shard-1"])
        #expect(status.members.map(\.isLate) == [false, true, false, true])
        #expect(status.members.map(\.slices) == [nil, nil, SliceSet(0..<4), SliceSet(4..<8)])
        #expect(status.members.map(\.rank) == [0, 1, nil, nil])
        #expect(status.members[3].age == .seconds(6))
        #expect(status.members[0].lastResult?.totalSeconds == 2)
    }

    @Test mutating func aWorkerThatHasEndedWithTheRunIsNotLate() {
        cluster.start(workers: 1)
        cluster.commit()
        cluster.tell(.stop)
        cluster.commit()
        #expect(cluster.machine.activity == .finished)
        cluster.pass(6, alive: ["s0"])
        let status = cluster.machine.status(at: cluster.now)
        #expect(status.members.map(\.id.description) == ["worker-0", "shard-0", "shard-1"])
        #expect(status.members.map(\.isLate) == [false, false, true])
    }

    @Test mutating func aStragglerIsNamed() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(minimumWorkers: 2))
        cluster.start(workers: 2)
        func step(backbone: [Double], shards: [Double]) -> [CoordinatorFixture.Machine.Event] {
            cluster.prepare()
            return (0..<2).map { rank in
                var result = cluster.result(rank)
                (result.backboneSeconds, result.shardSeconds) = (backbone[rank], shards)
                return cluster.done(rank, result)
            }
        }
        for event in step(backbone: [1, 1.4], shards: [1, 1.4]) { cluster.tell(event) }
        #expect(cluster.machine.status(at: cluster.now).straggler == nil)
        for _ in 0..<5 { for event in step(backbone: [1, 1.2], shards: [1, 3]) { cluster.tell(event) } }
        #expect(cluster.machine.status(at: cluster.now).straggler == "shard-1")
        for _ in 0..<3 { for event in step(backbone: [9, 1], shards: [1, 1]) { cluster.tell(event) } }
        #expect(cluster.machine.status(at: cluster.now).straggler == "worker-0")
    }

    @Test mutating func historyIsBounded() {
        var configuration = CoordinatorFixture.configuration(steps: 100)
        configuration.lossHistory = 3
        cluster = CoordinatorFixture(configuration)
        cluster.start(workers: 1)
        for _ in 0..<5 { cluster.commit() }
        #expect(cluster.machine.status(at: cluster.now).history.map(\.step) == [2, 3, 4])
    }

    @Test mutating func noMoreWorkersThanAPlanHolds() {
        var configuration = CoordinatorFixture.configuration()
        #expect(configuration.maximumWorkers == Plan.memberLimit)
        configuration.maximumWorkers = 8
        cluster = CoordinatorFixture(configuration)
        for worker in 0..<8 {
            #expect(cluster.join("w\(worker)", incarnation: UInt64(worker)) == ["w\(worker) is worker-\(worker)"])
        }
        let refusal = cluster.join("late", incarnation: 1 << 40)
        #expect(refusal.count == 1 && refusal[0].hasPrefix("late refused configuration"))
        #expect(cluster.join("w7", incarnation: 7) == ["w7 is worker-7"])
    }

    @Test mutating func membersAreKnownByNumberAndIncarnation() {
        cluster.start(workers: 1)
        #expect(cluster.machine.isMember(MemberID(.shard, 1), incarnation: 101))
        #expect(cluster.machine.isMember(MemberID(.worker, 0), incarnation: 0))
        #expect(!cluster.machine.isMember(MemberID(.shard, 1), incarnation: 100))
        #expect(!cluster.machine.isMember(MemberID(.shard, 1 << 24), incarnation: 0))
        #expect(!cluster.machine.isMember(MemberID(.operator, 0), incarnation: 0))
    }

    @Test mutating func onlyPlansWithinTheRunFit() {
        cluster.start(workers: 1)
        let plan = cluster.machine.plan
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
        #expect(misfit { $0.shards[1].slices = SliceSet(4..<9) } == "slices 4–8 of 8 for shard-1")
        #expect(misfit { $0.shards[0].denseSlices = SliceSet(0..<5) } == "dense slices 0–4 of 4 for shard-0")
    }

    @Test mutating func whoeverLeavesSaysWhy() {
        cluster.start()
        let shard = MemberID(.shard, 1)
        #expect(
            cluster.tell(.left(shard, incarnation: 7, reason: "in another's name", exitCode: 1)) == [],
            "another incarnation has not left")
        let actions = cluster.tell(.left(shard, incarnation: 101, reason: "cannot read /x", exitCode: 70))
        #expect(
            actions.first
                == "error: shard-1 left: cannot read /x (exit code 70); it owns 4 slices and 2 dense slices, and is waited for"
        )
        #expect(
            cluster.waits
                == "shard-1 at at s1 left: cannot read /x (exit code 70); step 0 waits for it to return; if its directory is lost, start the run anew: there is no checkpoint to go back to"
        )
        let known = cluster.machine.status(at: cluster.now).members.first { $0.id == shard }
        #expect(known?.goodbye == "left: cannot read /x (exit code 70)")
        cluster.join("s1", incarnation: 201, previous: 1, state: CoordinatorFixture.holding(-1))
        #expect(cluster.machine.status(at: cluster.now).members.first { $0.id == shard }?.goodbye.isEmpty == true)
        #expect(
            cluster.tell(.left(MemberID(.worker, 0), incarnation: 0, reason: "bad data", exitCode: 78)).first
                == "error: worker-0 left: bad data (exit code 78)")
    }

    @Test mutating func theAgeOfTheLastStepIsKnown() {
        cluster.start()
        cluster.now += .seconds(3)
        cluster.commit()
        #expect(cluster.machine.status(at: cluster.now).stepAge == .zero)
        #expect(cluster.machine.status(at: cluster.now + .seconds(4)).stepAge == .seconds(4))
    }
}
