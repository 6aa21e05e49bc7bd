internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// A shard that the coordinator hears and no worker reaches.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineUnreachedTests {
    private var cluster = CoordinatorFixture(Self.configuration(copies: 2))

    private static func configuration(copies: Int) -> CoordinatorConfiguration {
        CoordinatorFixture.configuration(steps: 100, minimumWorkers: 2) {
            ($0.copies, $0.promoteAfter, $0.stuckAfter) = (copies, .seconds(30), .seconds(20))
        }
    }

    /// For `seconds` s0 and s1 say that they live. Every worker waits for the first of them, which lacks these ranks at this request; of
    /// the other one they have everything.
    private mutating func cutOff(
        seconds: Int, lacks: [Int] = [0, 1], at phase: StepPhase = .begin, isBusy: Bool = false, isCopied: Bool = true,
        waitsFor: [Int: [Int]] = [0: [0], 1: [0]]
    ) -> [String] {
        var words: [String] = []
        for second in 1...seconds {
            cluster.now += .seconds(1)
            for shard in 0..<2 {
                let names = cluster.machine.plan.shards.first { $0.shard.number == shard }?.keptNames ?? []
                let committed = cluster.machine.committed
                let ranks = (shard == 0 ? lacks : [0, 1]).map {
                    ShardWaiting.Rank(rank: $0, phase: shard == 0 ? phase : .backward, seconds: Double(second))
                }
                words += cluster.beat(
                    "s\(shard)",
                    report: ShardReport(
                        committed: committed, durable: committed, prepared: .nothing,
                        waiting: ShardWaiting(id: cluster.machine.id, isBusy: shard == 0 && isBusy, ranks: ranks),
                        kept: isCopied ? Dictionary(uniqueKeysWithValues: names.map { ($0, committed) }) : [:]))
            }
            for worker in 0..<2 {
                let activity = WorkerActivity(id: cluster.machine.id, waitsFor: waitsFor[worker] ?? [])
                words += cluster.tell(
                    .heartbeat(
                        "w\(worker)", MemberID(.worker, worker), incarnation: UInt64(worker), report: nil,
                        activity: activity))
            }
        }
        return words
    }

    private mutating func start() {
        cluster.start(workers: 2)
        cluster.commit(through: 4)
    }

    private var said: String { cluster.machine.waitingFor(cluster.now) }

    @Test(arguments: [StepPhase.begin, .forward, .update])
    mutating func itIsTakenForLostLikeOneThatIsSilent(_ phase: StepPhase) {
        start()
        // Its answers to `update` are lost: it waits for nobody.
        let lacks = phase == .update ? [] : [0, 1]
        #expect(cutOff(seconds: 39, lacks: lacks, at: phase) == [])
        #expect(said.contains("no worker has reached shard-0 at at s0 for 38 s"), "\(said)")
        #expect(said.contains("its slices go to those who keep copies of them after 40 s"), "\(said)")
        let words = cutOff(seconds: 2, lacks: lacks, at: phase)
        #expect(words.contains { $0.contains("no worker has reached shard-0") }, "\(words)")
        guard case .promote(let moves)? = cluster.task?.kind else {
            Issue.record("\(cluster.machine.activity)")
            return
        }
        #expect(moves.allSatisfy { $0.from.number == 0 && $0.to.number == 1 })
        // That it is heard changes nothing.
        cluster.beat("s0")
        #expect(cluster.task != nil)
        cluster.acknowledge("s1")
        #expect(Set(cluster.machine.record.owners.values) == [1])
        #expect(cluster.machine.activity == .train && cluster.machine.committed == 4)
        #expect(cluster.machine.record.moves.isEmpty, "nothing goes back to it by itself")
        let shard = cluster.machine.status(at: cluster.now).members.first { $0.id == MemberID(.shard, 0) }
        #expect(shard?.isAlive == true && shard?.leftOut.contains("no worker reached it") == true)
        cluster.tell(.rebalance)
        #expect(cluster.machine.record.moves.count == 6)
    }

    @Test mutating func aProcessThatIsStartedAgainElsewhereIsTriedAgain() {
        start()
        _ = cutOff(seconds: 41)
        #expect(cluster.task != nil)
        cluster.join("s0", incarnation: 900, previous: 0, state: CoordinatorFixture.holding(4))
        #expect(cluster.machine.activity == .train, "\(cluster.machine.activity)")
        #expect(Set(cluster.machine.record.owners.values) == [0, 1])
    }

    @Test mutating func whileItComputesOrSomebodyReachesItItIsWaitedFor() {
        start()
        #expect(cutOff(seconds: 60, isBusy: true) == [] && cluster.machine.activity == .train)
        #expect(cutOff(seconds: 60, waitsFor: [0: [0], 1: [0, 1]]) == [] && cluster.machine.activity == .train)
    }

    @Test mutating func oneThatLacksSomeRanksIsNotToBlame() {
        start()
        let words = cutOff(seconds: 41, lacks: [1])
        #expect(words.first?.contains("worker-1 is left out") == true, "\(words)")
        #expect(cluster.task == nil)
    }

    @Test mutating func withoutCopiesTheOperatorIsToldWhatToDo() {
        cluster = CoordinatorFixture(Self.configuration(copies: 1))
        start()
        #expect(cutOff(seconds: 60) == [])
        #expect(said.contains("the run keeps one copy of each slice"), "\(said)")
        #expect(said.contains("start it with its directory where workers reach it"), "\(said)")
        cluster = CoordinatorFixture(Self.configuration(copies: 2))
        start()
        #expect(cutOff(seconds: 60, isCopied: false) == [])
        #expect(said.contains("complete copy of slice 0 and 5 more: mend the network between them"), "\(said)")
    }

    @Test mutating func aShardThatHasNotHeardOfTheAttemptIsNamed() {
        start()
        cluster.pass(5, alive: ["s0", "s1", "w0", "w1"])
        #expect(said.hasPrefix("shard-0, shard-1 does not take part in step 5"), "\(said)")
    }
}
