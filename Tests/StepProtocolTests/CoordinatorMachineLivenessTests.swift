internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Workers that hold the others up are named and left out; a worker's word alone commits nothing.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineLivenessTests {
    private var cluster = CoordinatorFixture(
        CoordinatorFixture.configuration(minimumWorkers: 2) { $0.stuckAfter = .seconds(30) })
    private let everyone = ["s0", "s1", "w0", "w1"]

    init() { cluster.start(workers: 2) }

    /// A shard says that it waits for these ranks.
    private mutating func wait(
        _ shard: Int, for ranks: [(rank: Int, phase: StepPhase, seconds: Double)], isBusy: Bool = false
    ) -> [String] {
        let waiting = ShardWaiting(
            id: cluster.machine.id, isBusy: isBusy,
            ranks: ranks.map { .init(rank: $0.rank, phase: $0.phase, seconds: $0.seconds) })
        let committed = cluster.machine.committed
        return cluster.beat(
            "s\(shard)",
            report: ShardReport(committed: committed, durable: committed, prepared: .nothing, waiting: waiting))
    }

    private mutating func say(_ worker: Int, _ activity: WorkerActivity) {
        cluster.tell(
            .heartbeat(
                "w\(worker)", MemberID(.worker, worker), incarnation: UInt64(worker), report: nil, activity: activity))
    }

    private var world: [Int] { cluster.machine.plan.ranks.map(\.worker.number) }

    @Test mutating func aRankThatDoesNotComeIsNamedAndLeftOut() {
        #expect(wait(0, for: [(1, .begin, 31)]) == [], "the other shard has not said anything yet")
        let actions = wait(1, for: [(1, .begin, 30)])
        let text = "worker-1 has not come to shard-0 with begin of step 0 for 30 s"
        #expect(actions == ["warning: worker-1 is left out for 30 s: \(text)", "warning: step 0 is aborted: \(text)"])
        #expect(world == [0])
        let members = cluster.machine.status(at: cluster.now).members
        #expect(members.first { $0.id.number == 1 }?.leftOut == "\(text); let in again in 30 s")
        #expect(members.first { $0.id.number == 1 }?.isAlive == true)
        cluster.commit()
        #expect(world == [0])
        cluster.pass(31, alive: everyone)
        cluster.commit()
        #expect(world == [0, 1], "it is let in again")
        _ = wait(0, for: [(1, .begin, 31)])
        #expect(wait(1, for: [(1, .begin, 31)]).first?.hasPrefix("warning: worker-1 is left out for 60 s") == true)
    }

    @Test mutating func aCutLinkIsNotTheShardsFault() {
        // worker-0 waits for the begin of shard-1, which waits for worker-1.
        _ = wait(0, for: [(0, .backward, 40), (1, .backward, 40)])
        let actions = wait(1, for: [(1, .begin, 40)])
        #expect(actions.first?.contains("worker-1 is left out") == true, "\(actions)")
        #expect(actions.first?.contains("the link between the two may be cut") == true)
        #expect(world == [0])
    }

    @Test mutating func slowIsNotStuck() {
        for seconds in [40.0, 100, 500] {
            say(1, WorkerActivity(id: cluster.machine.id, computes: true, progress: 3))
            cluster.pass(20, alive: everyone)
            _ = wait(0, for: [(1, .forward, seconds)])
            #expect(wait(1, for: [(1, .forward, seconds)]) == [], "it computes")
        }
        cluster.now += .seconds(2)
        say(1, WorkerActivity(id: cluster.machine.id, computes: false, progress: 4))
        #expect(wait(1, for: [(1, .forward, 500)]) == [], "something has just happened there")
        _ = wait(0, for: [(1, .forward, 2), (0, .backward, 100)])
        #expect(wait(1, for: [(1, .forward, 100)]) == [], "another shard has heard of it")
        _ = wait(0, for: [(1, .forward, 100)], isBusy: true)
        #expect(wait(1, for: [(1, .forward, 100)]) == [], "a shard computes")
        #expect(world == [0, 1])
    }

    @Test mutating func whoSaysNothingHasTimeToCompute() {
        _ = wait(0, for: [(1, .forward, 119)])
        #expect(wait(1, for: [(1, .forward, 119)]) == [])
        _ = wait(0, for: [(1, .forward, 120)])
        #expect(wait(1, for: [(1, .forward, 120)]).isEmpty == false)
        #expect(world == [0])
    }

    @Test mutating func theOnlyOnesAreWaitedForAndNamed() {
        _ = wait(0, for: [(0, .begin, 99), (1, .begin, 99)])
        #expect(wait(1, for: [(0, .begin, 99), (1, .begin, 99)]) == [])
        #expect(
            cluster.machine.status(at: cluster.now).waitingFor
                == "worker-0 has not come to shard-0 with begin of step 0 for 99 s, "
                + "worker-1 has not come to shard-0 with begin of step 0 for 99 s")
        #expect(world == [0, 1])
        _ = cluster.join("w2", incarnation: 2)
        #expect(world == [2], "there is somebody to go on")
    }

    @Test mutating func aPrematureReportCommitsNothing() {
        #expect(cluster.tell(cluster.done(0, cluster.result(0))) == [])
        #expect(cluster.tell(cluster.done(1, cluster.result(1))) == [])
        #expect(cluster.machine.committed == -1)
        let id = cluster.machine.id
        func prepared(_ shard: Int, _ id: StepID) -> [String] {
            cluster.tell(.prepared("s\(shard)", MemberID(.shard, shard), incarnation: UInt64(100 + shard), id))
        }
        #expect(prepared(0, id) == [])
        #expect(prepared(1, StepID(term: 1, step: 0, attempt: 7)) == [], "another attempt")
        #expect(cluster.machine.committed == -1)
        // What was said and got lost comes with the next heartbeat.
        let report = ShardReport(committed: -1, durable: -1, prepared: id)
        #expect(cluster.beat("s1", report: report) == ["committed 0 loss 1.25"])
    }

    @Test mutating func aShardThatDoesNotTellIsTakenAtItsWorkersWord() {
        cluster.beat("s0", "s1")  // an older shard's reports say nothing of it
        cluster.tell(cluster.done(0, cluster.result(0)))
        #expect(cluster.tell(cluster.done(1, cluster.result(1))) == ["committed 0 loss 1.25"])
    }

    @Test mutating func whoDoesNotReportWhatIsPreparedIsLeftOut() {
        cluster.prepare()
        cluster.tell(cluster.done(0, cluster.result(0)))
        for second in 0..<120 {
            #expect(world == [0, 1], "\(second) s")
            cluster.pass(1, alive: ["w0", "w1"])
            for shard in 0..<2 {
                cluster.beat(
                    "s\(shard)", report: ShardReport(committed: -1, durable: -1, prepared: cluster.machine.id))
            }
        }
        #expect(world == [0])
    }

    @Test mutating func oneThatCannotIsLeftOutAndTheOthersGoOn() {
        let actions = cluster.tell(cluster.failed(.internalError, "labels: the disk is gone"))
        #expect(actions.first == "warning: worker-0 is left out for 30 s: labels: the disk is gone")
        #expect(world == [1])
        let failed = CoordinatorFixture.Machine.Event.stepFailed(
            "w1", MemberID(.worker, 1), incarnation: 1, cluster.machine.id, code: .labelOutOfRange, message: "label 9")
        #expect(cluster.tell(failed).last == "failed: step 0 attempt 1: rank 0 (worker-1): label 9", "nobody can")
    }

    @Test mutating func whoComplainsAloneIsLeftOut() {
        // Older shards say nothing of whom they wait for.
        let text = "shard-1 has not answered forward for 120 s"
        cluster.tell(cluster.failed(.unresponsive, text))
        cluster.pass(2, alive: everyone)
        #expect(world == [0, 1])
        cluster.tell(cluster.failed(.unresponsive, text))
        #expect(world == [1])
    }

    @Test mutating func workersThatCrashAgainAndAgainWait() {
        func join(_ number: Int, _ place: String, replaces: UInt64? = nil) {
            cluster.tell(
                .joined(
                    "w\(number)", role: .worker, incarnation: UInt64(number), endpoint: "", previousNumber: nil,
                    state: nil,
                    place: place, replaces: replaces))
        }
        cluster.commit(through: 1)
        for number in 2..<6 {
            join(number, "a")
            cluster.commit()
            #expect(world == (number < 4 ? [0, 1, number] : [0, 1]), "worker \(number)")
            cluster.tell(.left(MemberID(.worker, number), incarnation: UInt64(number)))
        }
        join(6, "b")
        cluster.commit()
        #expect(world == [0, 1, 6], "another place")
    }

    @Test mutating func aWorkerThatWasStartedAgainReplacesWhatItWas() {
        func join(_ incarnation: UInt64, replaces: UInt64) -> [String] {
            cluster.tell(
                .joined(
                    "w9", role: .worker, incarnation: incarnation, endpoint: "", previousNumber: 1, state: nil,
                    replaces: replaces))
        }
        #expect(join(77, replaces: 12345) == ["w9 is worker-2"], "nobody has that incarnation: nobody is displaced")
        #expect(cluster.machine.plan.ranks.count == 2)
        let actions = join(78, replaces: 1)
        #expect(actions.contains("warning: worker-1 was started again"))
        #expect(actions.contains("w9 is worker-3"))
        #expect(world == [0, 2, 3], "at once")
    }

    @Test mutating func mostRanksAgree() {
        _ = cluster.join("w2", incarnation: 2)
        cluster.commit()
        cluster.prepare()
        cluster.tell(cluster.done(0, cluster.result(0)))
        cluster.tell(cluster.done(1, cluster.result(1, norm: 6)))
        let actions = cluster.tell(cluster.done(2, cluster.result(2)))
        #expect(actions.first?.hasPrefix("warning: worker-1 is left out") == true, "\(actions)")
        #expect(world == [0, 2])
        #expect(cluster.machine.committed == 0)
    }
}
