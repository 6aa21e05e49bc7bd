internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of PROTOCOL.md, section 6: runs that are trained by a job.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineJobTests {
    private var cluster = CoordinatorFixture(Self.configuration())

    private static func configuration(goesBackFreely: Bool = true, setsRate: Bool = false) -> CoordinatorConfiguration {
        CoordinatorFixture.configuration(steps: 100) {
            $0.denseSliceCount = 0
            $0.checkpointDirectory = "/c"
            $0.job = JobPolicy(setsRate: setsRate, goesBackFreely: goesBackFreely)
        }
    }

    /// Rank `rank` of a job says hello as `w` and its number.
    @discardableResult
    private mutating func join(
        _ peer: String, job id: UInt64, rank: Int, of worldSize: Int = 2, step: Int = -1, past: UInt64 = 0
    ) -> [String] {
        let job = JobRank(id: id, rank: rank, worldSize: worldSize, step: step, past: past)
        return cluster.tell(
            .joined(
                PeerID(name: peer), role: .worker, incarnation: CoordinatorFixture.identity(peer).incarnation,
                endpoint: "at \(peer)", previousNumber: nil, state: nil, job: job))
    }

    /// Shards s0 and s1, and the job 7 with the ranks w0 and w1; it trains.
    private mutating func start() {
        for shard in 0..<2 { cluster.join("s\(shard)") }
        join("w0", job: 7, rank: 0)
        join("w1", job: 7, rank: 1)
    }

    /// A step, and a pair after it.
    private mutating func save() {
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number ?? 0
        cluster.acknowledge("s0", "s1")
        cluster.acknowledge("w0", outcome: .done(detail: "[]"))
        cluster.tell(.checkpointWritten(number: number, problem: nil))
    }

    @Test mutating func allRanksOrNone() {
        for shard in 0..<2 { cluster.join("s\(shard)") }
        #expect(cluster.waits == "waiting for a job to train")
        join("w0", job: 7, rank: 1)
        #expect(
            cluster.waits == "job 0000000000000007 gathers: 1 of 2 ranks are there; waiting for a job to train")
        join("w1", job: 7, rank: 0)
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.plan.ranks.map(\.worker.number) == [1, 0], "in the order of the job's ranks")
        #expect(cluster.machine.plan.ranks.map(\.microBatches) == [0..<2, 2..<4])
        #expect(cluster.machine.plan.job == PlanJob(id: 7, worldSize: 2, setsRate: false))
    }

    @Test mutating func aLostRankIsWaitedForAndAnotherProcessIsNot() {
        start()
        cluster.commit()
        cluster.pass(11, alive: ["s0", "s1", "w0"])
        #expect(
            cluster.waits
                == "rank 1 of job 0000000000000007 is lost: the other ranks wait for it to return; waiting for a job to train"
        )
        let other = join("w5", job: 7, rank: 1)
        #expect(
            other == [
                "w5 refused jobDisagrees: another process was rank 1 of job 0000000000000007, which trains: start the whole job "
                    + "again, under a new id"
            ])
        #expect(join("w1", job: 7, rank: 1).contains("w1 is worker-2"), "the process itself may return")
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id.step == 1, "nothing was gone back behind")
    }

    @Test mutating func aNewStartTakesOverAndTheOldOneIsTurnedAway() {
        start()
        save()
        cluster.commit(through: 3)
        let past = cluster.machine.plan.past
        join("w2", job: 8, rank: 0, step: 0, past: past)
        #expect(cluster.machine.activity == .train, "until it is complete the other one trains")
        let taken = join("w3", job: 8, rank: 1, step: 0, past: past)
        #expect(
            taken.contains(
                "w0 refused superseded: job 0000000000000008 has taken over: another start of the training"))
        #expect(cluster.task?.kind == .restore(checkpoint: "/c/step-00000001"))
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.id.step == 1)
        #expect(cluster.machine.plan.ranks.map(\.worker.number) == [2, 3])
        #expect(cluster.machine.plan.past != past)
        #expect(join("w0", job: 7, rank: 0).first?.hasPrefix("w0 refused superseded") == true)
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)", previous: shard, state: CoordinatorFixture.holding(0)) }
        #expect(
            join("w0", job: 7, rank: 0) == [
                "w0 refused superseded: job 0000000000000007 has ended: start it again, from its checkpoint, under a new id"
            ], "also after a restart of the coordinator")
    }

    @Test mutating func aNewStartGoesBackEvenToTheLastStep() {
        start()
        cluster.commit(through: 2)
        let past = cluster.machine.plan.past
        for rank in 0..<2 { join("w\(rank + 2)", job: 8, rank: rank, step: 2, past: past) }
        #expect(cluster.task?.kind == .restore(checkpoint: nil), "what the old job has prepared is undone")
        #expect(cluster.task?.step == 2)
    }

    @Test mutating func aStepWithoutACheckpointIsRefused() {
        start()
        save()
        cluster.commit(through: 5)
        let past = cluster.machine.plan.past
        let words = join("w2", job: 8, rank: 0, of: 1, step: 3, past: past)
        let refused =
            "w2 refused stepGone: job 0000000000000008 begins after step 3, to which the cluster cannot go back: it can go back to "
            + "the checkpoints of steps -1, 0, and stay at step 5"
        #expect(words.contains(refused))
        #expect(join("w2", job: 8, rank: 0, of: 1, step: 3, past: past) == [refused], "and hears it again")
        #expect(cluster.machine.plan.job?.id == 7, "the one that trains goes on")
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func aStateOfAnotherPastIsRefused() {
        start()
        cluster.commit(through: 2)
        let old = cluster.machine.plan.past
        for rank in 0..<2 { join("w\(rank + 2)", job: 8, rank: rank) }
        cluster.acknowledge("s0", "s1")
        for _ in 0..<3 { cluster.commit() }
        #expect(cluster.machine.committed == 2)
        let words = join("w4", job: 9, rank: 0, of: 1, step: 2, past: old)
        #expect(words.contains { $0.contains("its state is of a past that the cluster has left") })
    }

    @Test mutating func goingBackFarNeedsAWord() {
        cluster = CoordinatorFixture(Self.configuration(goesBackFreely: false))
        start()
        save()
        cluster.commit()
        for rank in 0..<2 { cluster.tell(.left(MemberID(.worker, rank), incarnation: UInt64(rank))) }
        let words = join("w2", job: 8, rank: 0, of: 1)
        #expect(words.contains { $0.contains("behind the checkpoint of step 0") })
        #expect(cluster.waits?.contains("behind the checkpoint of step 0") == true)
        #expect(cluster.machine.committed == 1, "nothing is lost by itself")
        cluster.tell(.restore(checkpoint: "", step: nil))
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.committed == -1)
        #expect(cluster.task?.kind == .restore(checkpoint: ""))
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func aStartByMistakeDisturbsNobody() {
        cluster = CoordinatorFixture(Self.configuration(goesBackFreely: false))
        start()
        save()
        cluster.commit()
        let id = cluster.machine.id
        let words = join("w2", job: 8, rank: 0, of: 1)
        #expect(cluster.machine.id == id, "the attempt goes on")
        #expect(cluster.machine.activity == .train)
        let begins = "w2 refused stepGone: job 0000000000000008 begins after step -1, behind the checkpoint of step 0"
        #expect(words.contains { $0.hasPrefix(begins) })
        #expect(cluster.machine.plan.job?.id == 7)
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func anOperatorWhoGoesBackEndsTheJob() {
        start()
        save()
        cluster.commit(through: 4)
        let words = cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(words.contains { $0.hasPrefix("w0 refused superseded: the cluster has gone back to step 0") })
        cluster.acknowledge("s0", "s1")
        #expect(cluster.waits == "waiting for a job to train")
    }

    @Test mutating func aCheckpointIsAPair() {
        start()
        cluster.tell(.checkpoint)
        cluster.commit()
        cluster.acknowledge("s0", "s1")
        #expect(cluster.task != nil, "rank 0 has not written its part")
        #expect(cluster.acknowledge("w1") == [], "nobody else may")
        #expect(cluster.task != nil)
        let words = cluster.acknowledge("w0", outcome: .done(detail: "[1]"))
        #expect(words == ["write 1 /c/step-00000001 [\"\", \"\", \"[1]\"]"])
        cluster.tell(.checkpointWritten(number: 1, problem: nil))
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        cluster.acknowledge("s0", "s1")
        let end = cluster.tell(.left(MemberID(.worker, 0), incarnation: 0, exitCode: 1))
        #expect(end.contains("warning: worker-0 is gone: the checkpoint after step 2 is called off"))
        #expect(cluster.task == nil)
        #expect(cluster.machine.checkpoints.map(\.step) == [0])
    }

    @Test mutating func noCheckpointWithoutTheJob() {
        start()
        cluster.commit()
        cluster.tell(.left(MemberID(.worker, 1), incarnation: 1, exitCode: 1))
        #expect(
            cluster.tell(.checkpoint) == [
                "no: a checkpoint is written with the job that trains: rank 1 of job 0000000000000007 is lost: the other ranks wait "
                    + "for it to return; waiting for a job to train"
            ])
        #expect(cluster.task == nil)
    }

    @Test mutating func aJobWhoseRanksHaveLeftHasEnded() {
        start()
        cluster.commit()
        for rank in 0..<2 { cluster.tell(.left(MemberID(.worker, rank), incarnation: UInt64(rank))) }
        #expect(cluster.database.jobs.current == nil)
        #expect(cluster.waits == "waiting for a job to train")
    }

    @Test mutating func aRefusalThatNoShardKnowsOfEndsTheJobToo() {
        start()
        let refused = CoordinatorMachine.Event.stepFailed(
            "w0", MemberID(.worker, 0), incarnation: 0, cluster.machine.id, code: .malformed,
            message: "learning_rate is nan", by: MemberID(.shard, 0))
        cluster.tell(refused)
        var words: [String] = []
        for _ in 0..<12 {
            cluster.now += .seconds(1)
            for shard in 0..<2 {
                let waiting = ShardWaiting(id: cluster.machine.id, isBusy: false, ranks: [])
                words += cluster.beat(
                    "s\(shard)", report: ShardReport(committed: -1, durable: -1, prepared: .nothing, waiting: waiting))
            }
            words += cluster.beat("w0", "w1")
        }
        #expect(words.contains { $0.hasPrefix("w1 refused malformed: rank 0 (worker-0): learning_rate is nan") })
    }

    @Test mutating func aStepThatIsThrownAwayIsTriedAgainAtOnce() {
        start()
        cluster.tell(cluster.failed(.abandoned, "the gradients overflow"))
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id.attempt == 1)
    }

    @Test mutating func whatIsWrongWithARankEndsTheJobAndNotTheRun() {
        start()
        cluster.commit()
        let words = cluster.tell(cluster.failed(.labelOutOfRange, "label 99 is not a class"))
        #expect(
            words.contains("w1 refused labelOutOfRange: rank 0 (worker-0): label 99 is not a class"),
            "all ranks hear it")
        #expect(cluster.database.failure == nil)
        #expect(cluster.waits == "waiting for a job to train")
        for rank in 0..<2 { join("w\(rank + 2)", job: 8, rank: rank, step: 0, past: cluster.machine.plan.past) }
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func ranksThatContradictEachOtherAreRefused() {
        for shard in 0..<2 { cluster.join("s\(shard)") }
        #expect(cluster.join("w0").first?.contains("a worker must say its rank") == true)
        #expect(
            join("w0", job: 7, rank: 0, of: 3).first?.hasPrefix(
                "w0 refused jobDisagrees: job 0000000000000007 has 3 ranks, the batch 4 micro-batches") == true)
        #expect(join("w0", job: 7, rank: 2).first?.contains("there is no such rank") == true)
        join("w0", job: 7, rank: 0)
        #expect(
            join("w1", job: 7, rank: 1, step: 5).first?.contains(
                "rank 1 of job 0000000000000007 says 2 ranks after step 5, rank 0 2 ranks after step -1") == true)
        #expect(join("w2", job: 7, rank: 0).contains("w2 is worker-1"), "before it is complete a rank may be replaced")
        join("w1", job: 7, rank: 1)
        #expect(cluster.machine.activity == .train)
        var ordinary = CoordinatorFixture()
        let words = ordinary.tell(
            .joined(
                "w0", role: .worker, incarnation: 0, endpoint: "", previousNumber: nil, state: nil,
                job: JobRank(id: 7, rank: 0, worldSize: 1)))
        #expect(words.first?.contains("it takes no job") == true)
    }

    @Test mutating func theJobGoesOnAfterARestartOfTheCoordinator() {
        start()
        cluster.commit(through: 2)
        let past = cluster.machine.plan.past
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)", previous: shard, state: CoordinatorFixture.holding(2)) }
        for rank in 0..<2 { join("w\(rank)", job: 7, rank: rank) }
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id.step == 3)
        #expect(cluster.machine.plan.past == past)
    }

    @Test mutating func theJobMayChooseTheRate() {
        cluster = CoordinatorFixture(Self.configuration(setsRate: true))
        start()
        var results = (0..<2).map { cluster.result($0) }
        for rank in 0..<2 { results[rank].learningRate = 0.25 }
        cluster.prepare()
        for rank in 0..<2 { cluster.tell(cluster.done(rank, results[rank])) }
        #expect(cluster.machine.status(at: cluster.now).history.last?.learningRate == 0.25)
        #expect(cluster.machine.plan.job?.setsRate == true)
    }
}
