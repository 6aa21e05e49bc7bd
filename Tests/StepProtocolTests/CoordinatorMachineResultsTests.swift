internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of docs/step-protocol.md for the end of a run: its results, and evaluations that nobody makes.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineResultsTests {
    private var cluster: CoordinatorFixture

    /// Two steps, the last one done by `w0` and `w1`.
    init() {
        cluster = CoordinatorFixture(
            CoordinatorFixture.configuration(steps: 2, minimumWorkers: 2) { $0.writesResults = true })
        for shard in 0..<2 { cluster.join("s\(shard)") }
        for worker in 0..<2 { cluster.join("w\(worker)", writesResults: true) }
        cluster.commit(through: 1)
    }

    private var writer: MemberID? { if case .finishing(let writer) = cluster.machine.activity { writer } else { nil } }

    @discardableResult
    private mutating func written(_ worker: Int, _ id: StepID? = nil, problem: String? = nil) -> [String] {
        cluster.tell(
            .resultsWritten(
                "w\(worker)", MemberID(.worker, worker), incarnation: UInt64(worker), id ?? cluster.machine.id,
                problem: problem))
    }

    @Test mutating func theRunIsFinishedWhenItsResultsAreWritten() {
        #expect(writer == MemberID(.worker, 0), "rank 0 of the last step has the parameters")
        #expect(cluster.machine.plan.ranks.map(\.worker) == [MemberID(.worker, 0)])
        #expect(cluster.beat("s0", "s1") == [], "not because every shard has committed the last step")
        #expect(written(1) == [], "another worker was not asked")
        #expect(cluster.machine.activity == .finishing(writer: MemberID(.worker, 0)))
        #expect(written(0) == ["finished"])
        #expect(cluster.machine.activity == .finished)
        #expect(cluster.decisions == [.results(step: 1)])
    }

    @Test mutating func anotherWorkerTakesOver() {
        let asked = cluster.machine.id
        let actions = cluster.tell(.left(MemberID(.worker, 0), incarnation: 0))
        #expect(actions == ["warning: worker-0 is gone and has not written the results"])
        #expect(writer == MemberID(.worker, 1))
        #expect(cluster.machine.id > asked)
        written(1, asked)
        #expect(writer == MemberID(.worker, 1), "what was asked of the other counts for nothing")
        cluster.beat("s0", "s1")
        #expect(written(1) == ["finished"])
    }

    @Test mutating func aWorkerThatJoinsTheEndWritesThem() {
        for worker in 0..<2 { cluster.tell(.left(MemberID(.worker, worker), incarnation: UInt64(worker))) }
        #expect(cluster.machine.activity == .finishing(writer: nil))
        cluster.beat("s0", "s1")
        #expect(cluster.machine.activity == .finishing(writer: nil), "the run is not finished without them")
        cluster.restart()
        for shard in 0..<2 {
            cluster.join(
                "s\(shard)", incarnation: UInt64(100 + shard), previous: shard, state: CoordinatorFixture.holding(1))
        }
        #expect(cluster.machine.activity == .finishing(writer: nil), "nor after a restart")
        cluster.join("w2", writesResults: true)
        #expect(writer == MemberID(.worker, 2))
        cluster.beat("s0", "s1")
        #expect(written(2) == ["finished"])
        cluster.restart()
        for shard in 0..<2 {
            cluster.join(
                "s\(shard)", incarnation: UInt64(100 + shard), previous: shard, state: CoordinatorFixture.holding(1))
        }
        #expect(cluster.machine.activity == .finished, "what is written is written")
    }

    @Test mutating func whatCannotBeWrittenIsTriedByOthersAndAgain() {
        #expect(written(0, problem: "no space") == ["error: the results could not be written: worker-0: no space"])
        #expect(writer == MemberID(.worker, 1), "at once")
        #expect(written(1, problem: "no space") == ["error: the results could not be written: worker-1: no space"])
        #expect(cluster.machine.activity == .finishing(writer: nil), "not by the first one again at once")
        #expect(cluster.machine.status(at: cluster.now).resultsProblem == "worker-1: no space")
        cluster.pass(5, alive: ["s0", "s1", "w0", "w1"])
        #expect(writer != nil)
        cluster.beat("s0", "s1")
        #expect(written(writer?.number ?? 9) == ["finished"])
        #expect(cluster.machine.status(at: cluster.now).resultsProblem.isEmpty)
    }

    @Test mutating func thePauseAfterAFailureEndsWithTheResults() {
        written(0, problem: "no space")
        cluster.beat("s0", "s1")
        #expect(written(1) == ["finished"])
        cluster.pass(60, alive: ["s0", "s1", "w0", "w1"])
        #expect((cluster.machine.nextDeadline ?? .zero) > cluster.now, "its time would come again and again")
    }

    @Test mutating func aWriterThatDoesNothingIsReplaced() {
        cluster.pass(60, alive: ["s0", "s1", "w0", "w1"])
        #expect(writer == MemberID(.worker, 0))
        cluster.pass(90, alive: ["s0", "s1", "w0", "w1"])
        #expect(writer == MemberID(.worker, 1), "it lives, and does not say that it writes")
    }

    @Test mutating func whoeverGoesOnAfterAStopWritesAgain() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 10) { $0.writesResults = true })
        for shard in 0..<2 { cluster.join("s\(shard)") }
        cluster.join("w0", writesResults: true)
        cluster.tell(.stop)
        cluster.commit()
        #expect(writer == MemberID(.worker, 0))
        let asked = cluster.machine.id
        cluster.tell(.resume)
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id > asked, "shards have heard of that id")
        cluster.commit()
        cluster.tell(.stop)
        cluster.commit()
        cluster.beat("s0", "s1")
        #expect(written(0) == ["finished"])
        cluster.tell(.resume)
        cluster.commit(through: 9)
        #expect(writer == MemberID(.worker, 0))
    }

    @Test mutating func aRunOfStrangersEndsWithoutResults() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 1) { $0.writesResults = true })
        cluster.start()
        #expect(cluster.commit().last == "warning: no worker of this run writes results: there is no backbone")
        #expect(cluster.machine.activity == .finished)
    }

    @Test mutating func evaluationsThatNobodyMakesAreCounted() {
        cluster = CoordinatorFixture(
            CoordinatorFixture.configuration(steps: 10) {
                $0.writesResults = true
                $0.evaluationEvery = 2
            })
        for shard in 0..<2 { cluster.join("s\(shard)") }
        cluster.join("w0", writesResults: true)
        func evaluated(_ step: Int, _ problem: String? = nil) -> CoordinatorFixture.Machine.Event {
            .evaluated("w0", MemberID(.worker, 0), incarnation: 0, step: step, problem: problem)
        }
        cluster.commit(through: 3)
        #expect(cluster.tell(evaluated(1)) == [])
        #expect(
            cluster.tell(evaluated(3, "the one before is under way"))
                == ["warning: there is no evaluation after step 3: worker-0: the one before is under way"])
        cluster.commit(through: 5)
        let actions = cluster.tell(.left(MemberID(.worker, 0), incarnation: 0))
        #expect(actions.contains("warning: there is no evaluation after step 5: worker-0 is gone"))
        #expect(cluster.machine.status(at: cluster.now).missedEvaluations == 2)
    }
}
