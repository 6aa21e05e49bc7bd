internal import Cluster
internal import Determinism
internal import StepProtocol
import TestSupport
import Testing

/// Who owns which slice: shards that join, are drained, get lost while slices are on their way to them.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineMoveTests {
    private var cluster = CoordinatorFixture(Self.configuration())

    private static func configuration(
        _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) -> CoordinatorConfiguration {
        CoordinatorFixture.configuration(steps: 100) {
            $0.checkpointDirectory = "/c"
            change(&$0)
        }
    }

    /// Everything that is on its way arrives, whatever boundaries that takes.
    private mutating func arrive(_ receivers: String..., acknowledging all: [String]) {
        for _ in 0..<20 where !cluster.machine.record.moves.isEmpty {
            for receiver in receivers { cluster.receive(receiver) }
            if cluster.machine.activity == .train { cluster.commit() }
            for peer in all where cluster.task != nil { cluster.acknowledge(peer) }
        }
        #expect(cluster.machine.record.moves == [])
    }

    private var ownedSlices: Int { cluster.slices.values.map(\.count).reduce(0, +) }

    @Test mutating func aShardThatJoinsGetsItsShareWhileTrainingGoesOn() {
        cluster.start()
        cluster.commit()
        let id = cluster.machine.id
        #expect(cluster.join("s2") == ["s2 is shard-2"])
        #expect(cluster.machine.id == id, "the attempt is not disturbed")
        #expect(cluster.machine.record.moves.count == 3, "two slices of 8 and one dense slice of 4")
        #expect(cluster.plans["s0"]?.moves == cluster.machine.record.moves)
        #expect(cluster.machine.plan.mapVersion == 1)
        arrive("s2", acknowledging: ["s0", "s1", "s2"])
        #expect(cluster.slices.mapValues(\.count) == [0: 3, 1: 3, 2: 2])
        #expect(cluster.machine.plan.mapVersion > 1)
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func slicesMoveAFewAtATime() {
        cluster = CoordinatorFixture(Self.configuration { $0.movesAtOnce = 1 })
        cluster.start()
        cluster.join("s2")
        #expect(cluster.machine.record.moves.count == 3)
        let first = cluster.machine.plan.moves
        #expect(first.count == 1)
        cluster.commit()
        cluster.receive("s2")
        cluster.commit()
        #expect(cluster.task?.kind == .handOver(first))
        cluster.acknowledge("s0", "s1", "s2")
        #expect(cluster.decisions.count == 3, "the map, the moves that are left, and no task: \(cluster.decisions)")
        #expect(cluster.machine.plan.moves.count == 1)
        #expect(cluster.machine.plan.moves != first)
    }

    @Test mutating func slicesAreHandedOverWhenTheCopyIsNear() {
        cluster.start()
        cluster.commit(through: 3)
        cluster.join("s2")
        let move = cluster.machine.plan.moves[0]
        func report(_ step: Int) {
            cluster.beat("s2", report: ShardReport(committed: 3, durable: 3, received: [move.slice: step]))
        }
        report(-1)
        cluster.commit()
        #expect(cluster.task == nil, "still being copied")
        report(1)
        cluster.commit()
        #expect(cluster.task == nil, "three steps behind")
        report(4)
        cluster.commit()
        #expect(cluster.task?.kind == .handOver([move]))
        #expect(cluster.task?.step == 6)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.plan.mapVersion == 1, "the receiver has still to complete it")
        cluster.acknowledge("s2")
        #expect(cluster.machine.plan.mapVersion == 2)
        #expect(cluster.machine.record.owners[move.slice] == 2)
        #expect(cluster.machine.record.moves.count == 2)
    }

    @Test mutating func aReceiverThatIsLostInAHandOverIsNotWaitedFor() {
        cluster.start()
        cluster.join("s2")
        cluster.commit()
        cluster.receive("s2")
        cluster.commit()
        #expect(cluster.task != nil)
        cluster.acknowledge("s0", "s1")
        cluster.pass(10, alive: ["w0", "s0", "s1"])
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.record.moves == [])
        #expect(cluster.machine.plan.mapVersion == 1)
        #expect(cluster.database.task == nil)
        // Its directory has complete copies: it must be let in again when it returns.
        let words = cluster.join("s2", incarnation: 300, previous: 2, state: CoordinatorFixture.holding(1))
        #expect(words == ["s2 is shard-2"])
        #expect(cluster.machine.record.moves.count == 3, "and is given slices again")
    }

    @Test mutating func aHandOverThatFailedIsTriedAgainLater() {
        cluster.start()
        cluster.join("s2")
        cluster.commit()
        cluster.receive("s2")
        cluster.commit()
        cluster.acknowledge("s0", "s1")
        cluster.acknowledge("s2", outcome: .failed(message: "the disk is full"))
        #expect(cluster.task == nil)
        cluster.pass(2, alive: ["w0", "s0", "s1"])
        #expect(cluster.task?.number == 2)
    }

    @Test mutating func aHandOverSurvivesTheCoordinator() {
        cluster.start()
        cluster.join("s2")
        cluster.commit()
        cluster.receive("s2")
        cluster.commit()
        let task = cluster.task
        cluster.acknowledge("s0")
        cluster.restart()
        #expect(cluster.machine.record.moves.count == 3)
        for shard in 0..<2 { cluster.join("s\(shard)", state: CoordinatorFixture.holding(1)) }
        cluster.join("s2", state: ShardState(newest: -1, oldest: -1, hasSlices: false))
        #expect(cluster.task == task)
        cluster.acknowledge("s0", "s1", "s2")
        #expect(cluster.slices.mapValues(\.count) == [0: 3, 1: 3, 2: 2])
    }

    @Test mutating func afterARestartAReceiverHasALeaseToReturnIn() {
        cluster.start()
        cluster.join("s2")
        cluster.commit()
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)", state: CoordinatorFixture.holding(0)) }
        cluster.beat("w0")
        #expect(cluster.machine.record.moves.count == 3)
        cluster.pass(10, alive: ["w0", "s0", "s1"])
        #expect(cluster.machine.record.moves == [])
        #expect(cluster.machine.activity == .train)
    }

    // MARK: Draining

    @Test mutating func aDrainedShardGoesWhenItOwnsNothing() {
        cluster.start()
        cluster.commit()
        #expect(cluster.tell(.drain(MemberID(.shard, 1))) == [])
        #expect(cluster.machine.record.moves.count == 6)
        #expect(cluster.machine.activity == .train)
        let member = MemberID(.shard, 1)
        var words: [String] = []
        for _ in 0..<10 where cluster.machine.record.members[member] != nil {
            cluster.receive("s0")
            if cluster.machine.activity == .train { cluster.commit() }
            for peer in ["s0", "s1"] where cluster.task != nil { words += cluster.acknowledge(peer) }
        }
        #expect(words == ["s1 may go: shard-1"])
        #expect(cluster.slices.mapValues(\.count) == [0: 8])
        #expect(cluster.beat("s1") == ["s1 may go: shard-1"], "the word may be lost")
        #expect(cluster.join("s1", previous: 1) == ["s1 may go: shard-1"], "it does not come back by mistake")
        #expect(cluster.join("s1", incarnation: 300, previous: 1) == ["s1 is shard-2"], "started anew it may")
    }

    @Test mutating func theOnlyShardIsNotDrained() {
        cluster.start()
        cluster.tell(.drain(MemberID(.shard, 0)))
        #expect(
            cluster.tell(.drain(MemberID(.shard, 1))) == ["no: no other shard could take the slices of shard-1"])
        #expect(cluster.tell(.drain(MemberID(.shard, 7))) == ["no: there is no shard-7"])
        #expect(cluster.tell(.drain(MemberID(.worker, 0))) == ["no: there is no worker-0"])
        #expect(cluster.tell(.drain(MemberID(.shard, 0))) == [], "said twice")
    }

    @Test mutating func drainingIsRememberedAndTakenBack() {
        cluster.start()
        cluster.tell(.drain(MemberID(.shard, 1)))
        cluster.restart()
        #expect(cluster.machine.record.members[MemberID(.shard, 1)]?.isDraining == true)
        cluster.join("s0", state: CoordinatorFixture.holding(-1))
        cluster.join("s1", incarnation: 500, previous: 1, state: CoordinatorFixture.holding(-1))
        #expect(cluster.machine.record.members[MemberID(.shard, 1)]?.isDraining == true, "also over its own restart")
        #expect(cluster.machine.record.moves.count == 6)
        #expect(cluster.tell(.undrain(MemberID(.shard, 1))) == [])
        #expect(cluster.machine.record.moves.allSatisfy { $0.to.number == 0 } == true)
        #expect(cluster.tell(.undrain(MemberID(.shard, 1))) == ["no: shard-1 is not being drained"])
    }

    // MARK: Rebalancing

    @Test mutating func withoutAutomaticRebalancingTheOperatorMovesSlices() {
        cluster = CoordinatorFixture(Self.configuration { $0.rebalancesAutomatically = false })
        #expect(cluster.tell(.rebalance) == ["no: the slices are not divided yet"])
        cluster.start()
        cluster.join("s2")
        #expect(cluster.machine.record.moves == [])
        let plan = cluster.machine.rebalancePlan()
        #expect(plan.count == 3)
        #expect(cluster.machine.record.moves == [], "a plan moves nothing")
        #expect(cluster.tell(.rebalance) == [])
        #expect(cluster.machine.record.moves == plan)
        cluster.tell(.rebalance)
        #expect(cluster.decisions == [], "they are on their way")
    }

    @Test mutating func movesWaitWhileClassesChange() {
        cluster.start()
        cluster.join("s2")
        cluster.commit()
        cluster.receive("s2")
        cluster.tell(.classes(.retire([1])))
        cluster.commit()
        #expect(cluster.task?.kind == .classes(.retire([1])))
        #expect(cluster.machine.plan.moves == [], "copies of what was before are dropped")
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.activity == .train, "what was received before does not count")
        #expect(cluster.machine.plan.moves.count == 3)
    }

    @Test mutating func movesGoOnAfterGoingBack() {
        cluster.start()
        cluster.join("s2")
        cluster.commit()
        cluster.receive("s2")
        cluster.tell(.restore(checkpoint: "", step: -1))
        #expect(cluster.task?.kind == .restore(checkpoint: ""))
        #expect(cluster.machine.plan.moves == [])
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.plan.moves.count == 3)
    }

    @Test mutating func evenDivisionsNeedTheFewestMoves() {
        for seed in UInt64(0)..<300 {
            var random = KeyedRandom(seed: seed, purpose: .test, 7)
            let shards = Array(0..<1 + Int(random.below(5)))
            var owners: [SliceName: Int] = [:]
            for slice in 0..<8 { owners[.centers(slice)] = Int(random.below(6)) }
            for slice in 0..<4 { owners[.dense(slice)] = Int(random.below(6)) }
            let moves = Rebalance.moves(owners: owners, shards: shards)
            #expect(Set(moves.map(\.slice)).count == moves.count)
            var after = owners
            for move in moves {
                #expect(owners[move.slice] == move.from.number && move.from != move.to)
                after[move.slice] = move.to.number
            }
            for isDense in [false, true] {
                func counts(_ owners: [SliceName: Int]) -> [Int] {
                    shards.map { shard in owners.count { $0.key.isDense == isDense && $0.value == shard } }
                }
                let (old, new) = (counts(owners), counts(after))
                #expect((new.max() ?? 0) - (new.min() ?? 0) <= 1, "seed \(seed)")
                // What a shard has beyond its share must go, and nothing else: the largest keep the larger shares.
                let total = new.reduce(0, +)
                let shares = shards.map { total / shards.count + ($0 < total % shards.count ? 1 : 0) }
                let surplus = zip(old.sorted(by: >), shares).map { max(0, $0 - $1) }.reduce(0, +)
                let strangers = owners.count { $0.key.isDense == isDense && !shards.contains($0.value) }
                #expect(moves.count { $0.slice.isDense == isDense } == surplus + strangers, "seed \(seed)")
            }
        }
    }
}
