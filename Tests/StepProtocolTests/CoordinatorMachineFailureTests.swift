internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Attempts that a shard refuses: who is to blame is left out, whoever of those who were refused says so first, or if nobody does.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineFailureTests {
    private var cluster = CoordinatorFixture(
        CoordinatorFixture.configuration(minimumWorkers: 2) {
            $0.stuckAfter = .seconds(30)
            $0.onNotFinite = .skip(limit: 2)
        })

    init() { cluster.start(workers: 2) }

    private var world: [Int] { cluster.machine.plan.ranks.map(\.worker.number) }

    /// A shard reports that it has refused the running attempt; without a code that it waits for nobody.
    @discardableResult
    private mutating func report(
        _ shard: Int, _ code: RefusalCode? = nil, _ message: String = "", of ranks: [Int] = []
    ) -> [String] {
        let failure = code.map { ShardWaiting.Failure(code: $0, message: message, ranks: ranks) }
        let waiting = ShardWaiting(id: cluster.machine.id, isBusy: false, ranks: [], failure: failure)
        return cluster.beat(
            "s\(shard)", report: ShardReport(committed: -1, durable: -1, prepared: .nothing, waiting: waiting))
    }

    private mutating func fail(_ worker: Int, _ code: RefusalCode, _ message: String, by shard: Int?) -> [String] {
        cluster.tell(
            .stepFailed(
                "w\(worker)", MemberID(.worker, worker), incarnation: UInt64(worker), cluster.machine.id, code: code,
                message: message, by: shard.map { MemberID(.shard, $0) }))
    }

    @Test mutating func theWorkerThatSendsWhatIsNotFiniteIsLeftOutByTheShardsWordAlone() {
        let actions = report(1, .notFinite, "a feature is nan", of: [1])
        #expect(
            actions.first
                == "warning: worker-1 is left out for 30 s: rank 1 (worker-1): shard-1: a feature is nan")
        #expect(world == [0])
        cluster.commit()
        #expect(cluster.machine.committed == 0, "without it the step is as good as any")
        #expect(cluster.machine.status(at: cluster.now).skippedSteps == 0)
    }

    @Test mutating func whatComesAgainWithOthersIsTheStepsOwnDoing() {
        report(1, .notFinite, "a feature is nan", of: [1])
        #expect(world == [0])
        report(0, .notFinite, "a feature is nan", of: [0])
        #expect(cluster.task?.kind == .skip)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.committed == 0)
        #expect(world == [0, 1], "it was not its fault")
    }

    @Test mutating func whoIsRefusedForAnothersPartIsNotBlamed() {
        for code in [RefusalCode.notFinite, .labelOutOfRange] {
            let step = cluster.machine.id.step
            #expect(fail(0, code, "shard-1: odd", by: 1) == [], "the shard knows whose part it was")
            report(1)
            #expect(world == [0, 1], "it has said nothing of it yet")
            report(1, code, "odd", of: [1])
            #expect(world == [0])
            cluster.commit()
            #expect(cluster.machine.committed == step)
            cluster.pass(70, alive: ["s0", "s1", "w0", "w1"])
            #expect(fail(0, .unresponsive, "shard-0 has not answered", by: nil).isEmpty == false)
            cluster.pass(2, alive: ["s0", "s1", "w0", "w1"])
            #expect(world == [0, 1], "it is let in again")
        }
    }

    @Test mutating func aShardOfAnEarlierVersionSaysNothingOfIt() {
        #expect(fail(0, .notFinite, "shard-1: a feature is nan", by: 1) == [])
        cluster.beat("s0")
        #expect(cluster.task == nil)
        cluster.beat("s1")
        #expect(cluster.task?.kind == .skip)
        #expect(cluster.machine.status(at: cluster.now).lastSkipped?.message.contains("rank 0 (worker-0)") == true)
    }

    @Test mutating func aLossThatIsNotFiniteIsItsRanks() {
        cluster.prepare()
        cluster.tell(cluster.done(0, cluster.result(0)))
        cluster.tell(cluster.done(1, cluster.result(1, losses: [1, .nan])))
        #expect(world == [0])
        #expect(cluster.machine.committed == -1)
    }

    @Test mutating func workersThatDoNotReportARefusalAreLeftOut() {
        report(1, .internalError, "no memory")
        #expect(
            cluster.machine.status(at: cluster.now).waitingFor
                == "shard-1 has refused step 0: no memory; no worker has reported it yet")
        _ = cluster.join("w2", incarnation: 2)
        for second in 0..<30 {
            #expect(world == [0, 1], "\(second) s")
            cluster.pass(1, alive: ["w0", "w1", "w2"])
            report(0)
            report(1, .internalError, "no memory")
        }
        #expect(world == [2])
    }

    @Test mutating func ifThereIsNobodyElseTheAttemptIsRepeated() {
        report(1, .internalError, "no memory")
        for _ in 0..<30 {
            cluster.pass(1, alive: ["w0", "w1"])
            report(0)
            report(1, .internalError, "no memory")
        }
        #expect(cluster.machine.activity != .train)
        cluster.pass(2, alive: ["w0", "w1", "s0", "s1"])
        #expect(cluster.machine.id.attempt == 1)
        #expect(world == [0, 1])
        cluster.commit()
        #expect(cluster.machine.committed == 0)
    }
}
