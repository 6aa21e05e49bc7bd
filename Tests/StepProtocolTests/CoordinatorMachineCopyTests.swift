internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Second copies of slices, and what becomes of the slices of a shard that is lost.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineCopyTests {
    private var cluster = CoordinatorFixture(Self.configuration())

    private static func configuration(
        _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) -> CoordinatorConfiguration {
        CoordinatorFixture.configuration(steps: 100) {
            $0.checkpointDirectory = "/c"
            ($0.copies, $0.promoteAfter) = (2, .seconds(30))
            change(&$0)
        }
    }

    /// The shard says that every copy that the plan has it keep counts.
    private mutating func keep(_ peer: String, except missing: Set<SliceName> = []) {
        let member = CoordinatorFixture.identity(peer).member
        let names = cluster.machine.plan.shards.first { $0.shard == member }?.keptNames ?? []
        let step = cluster.machine.committed
        let kept = Dictionary(uniqueKeysWithValues: names.subtracting(missing).map { ($0, step) })
        cluster.beat(peer, report: ShardReport(committed: step, durable: step, kept: kept))
    }

    /// Two shards with copies of each other's slices, of which the first falls silent for `seconds`.
    private mutating func lose(seconds: Int, except missing: Set<SliceName> = []) {
        cluster.start()
        cluster.commit(through: 4)
        keep("s0")
        keep("s1", except: missing)
        for _ in 0..<seconds {
            cluster.now += .seconds(1)
            keep("s1", except: missing)
            cluster.beat("w0")
        }
    }

    @Test mutating func everySliceHasAKeeperFromTheFirstStepOn() {
        cluster.start()
        #expect(cluster.machine.record.keepers.count == 12)
        #expect(cluster.machine.record.keepers.allSatisfy { cluster.machine.record.owners[$0.key] != $0.value })
        #expect(cluster.machine.plan.shards.map { $0.keptNames.count } == [6, 6])
        #expect(cluster.machine.plan.mapVersion == 2, "members learn of keepers with a map")
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func copiesAreKeptInAnotherZone() {
        cluster = CoordinatorFixture(Self.configuration { $0.expectedShards = 3 })
        for (peer, zone) in [("s0", "rack a"), ("s1", "rack a"), ("s2", "rack b")] { cluster.join(peer, zone: zone) }
        cluster.join("w0")
        let record = cluster.machine.record
        #expect(record.owners.count == 12 && Set(record.owners.values) == [0, 1, 2])
        for (slice, owner) in record.owners {
            #expect(owner == 2 || record.keepers[slice] == 2, "\(slice) of \(owner)")
        }
        // One of them is moved.
        cluster.join("s1", incarnation: 900, previous: 1, state: CoordinatorFixture.holding(-1), zone: "rack b")
        let keepers = cluster.machine.record.keepers
        #expect(cluster.machine.record.members[MemberID(.shard, 1)]?.zone == "rack b")
        for (slice, owner) in record.owners where owner != 0 { #expect(keepers[slice] == 0, "\(slice) of \(owner)") }
    }

    @Test mutating func oneCopyIsWhatEveryRunHadBefore() {
        cluster = CoordinatorFixture()
        cluster.start()
        #expect(cluster.machine.record.keepers.isEmpty && cluster.machine.status(at: cluster.now).copies == nil)
    }

    @Test mutating func whoMakesTheirCopiesCurrentTakesTheSlicesOver() {
        lose(seconds: 39)
        #expect(cluster.waits?.contains("shard-0") == true && cluster.waits?.contains("copies") == true)
        keep("s1")
        cluster.now += .seconds(2)
        keep("s1")
        guard case .promote(let moves)? = cluster.task?.kind else {
            Issue.record("\(cluster.machine.activity)")
            return
        }
        #expect(moves.count == 6 && moves.allSatisfy { $0.from.number == 0 && $0.to.number == 1 })
        #expect(cluster.machine.record.task == nil, "it changes nothing and is not decided")
        cluster.acknowledge("s1")
        #expect(Set(cluster.machine.record.owners.values) == [1])
        #expect(cluster.machine.record.keepers.isEmpty)
        #expect(cluster.machine.record.members[MemberID(.shard, 0)] != nil, "it may come back, and owns nothing")
        #expect(cluster.machine.activity == .train && cluster.machine.committed == 4)
    }

    @Test mutating func anOwnerThatComesBackInTimeKeepsItsSlices() {
        lose(seconds: 41)
        #expect(cluster.task != nil)
        let number = cluster.task?.number
        cluster.join("s0", previous: 0, state: CoordinatorFixture.holding(4))
        #expect(cluster.machine.activity == .train, "\(cluster.machine.activity)")
        let late = Self.promoted(number ?? 0)
        cluster.tell(late)
        #expect(Set(cluster.machine.record.owners.values) == [0, 1])
    }

    private static func promoted(_ number: Int) -> CoordinatorMachine.Event {
        .taskDone("s1", MemberID(.shard, 1), incarnation: 101, number: number, .done(detail: ""))
    }

    @Test mutating func withoutACompleteCopyItIsSaidWhatIsLost() {
        lose(seconds: 45, except: [.centers(1)])
        #expect(cluster.task == nil)
        #expect(
            cluster.waits?.contains("no other shard that is there has a complete copy of slice 1") == true,
            "\(cluster.waits ?? "")")
        #expect(cluster.waits?.contains("start the run anew: there is no checkpoint to go back to") == true)
    }

    /// The record has lost the only commit: what shards have prepared is not nothing.
    @Test mutating func aFirstStepThatMayBeCommittedIsNotGivenUp() {
        cluster.start()
        cluster.restart()
        cluster.join("s1", previous: 1, state: CoordinatorFixture.holding(0))
        let map = cluster.machine.record.mapVersion
        for _ in 0..<45 {
            cluster.now += .seconds(1)
            cluster.beat("s1", report: ShardReport(committed: -1, durable: 0))
        }
        #expect(cluster.machine.record.mapVersion == map && cluster.task == nil)
        #expect(cluster.waits?.contains("no other shard that is there has a complete copy") == true)
        keep("s1")
        guard case .promote? = cluster.task?.kind else {
            Issue.record("\(cluster.machine.activity)")
            return
        }
    }

    /// A record that is older than the cluster, and an owner that is lost: what the keepers have is enough.
    @Test mutating func whatIsLostIsMadeFromCopiesAlsoUnderAnOlderRecord() {
        cluster.start()
        cluster.commit(through: 4)
        let record = cluster.machine.record
        cluster.restart()
        let owned = cluster.machine.plan.shards.first { $0.shard.number == 1 }?.names ?? []
        let kept = Set(record.owners.keys).subtracting(owned)
        // It has done a task that the record does not know.
        var state = CoordinatorFixture.holding(4)
        state.holdings = ShardHoldings(
            identity: 1, slices: owned.centers, denseSlices: owned.dense, kept: kept.centers, keptDense: kept.dense,
            mapVersion: record.mapVersion, past: record.pasts.present, lastTask: 7)
        cluster.join("s1", previous: 1, state: state)
        #expect(cluster.waits?.contains("older than the cluster") == true, "\(cluster.waits ?? "")")
        for _ in 0..<39 {
            cluster.now += .seconds(1)
            cluster.beat("s1", report: ShardReport(committed: 4, durable: 4))
        }
        #expect(cluster.machine.record.mapVersion == record.mapVersion)
        cluster.now += .seconds(2)
        keep("s1")
        #expect(cluster.machine.record.mapVersion == record.mapVersion + 1)
        #expect(cluster.machine.record.owners == record.owners)
        keep("s1")
        guard case .promote(let moves)? = cluster.task?.kind else {
            Issue.record("\(cluster.machine.activity)")
            return
        }
        #expect(moves.count == kept.count)
    }

    @Test mutating func aDamagedCopyIsNotTakenAndTheOwnerIsWaitedFor() {
        lose(seconds: 41)
        let words = cluster.acknowledge("s1", outcome: .failed(message: "the file is damaged"))
        #expect(words.contains { $0.contains("the file is damaged") })
        #expect(cluster.waits?.contains("no other shard that is there has a complete copy") == true)
        #expect(Set(cluster.machine.record.owners.values) == [0, 1])
        cluster.join("s0", previous: 0, state: CoordinatorFixture.holding(4))
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func anEmptyDirectoryAtTheOldAddressIsANewMember() {
        lose(seconds: 11)
        let fresh = ShardState(logsSteps: true, holdings: ShardHoldings(identity: 9))
        let words = cluster.tell(
            .joined("s2", role: .shard, incarnation: 102, endpoint: "at s0", previousNumber: nil, state: fresh))
        #expect(words.contains("s2 is shard-2"))
        #expect(Set(cluster.machine.record.owners.values) == [0, 1])
    }

    @Test mutating func theOperatorNeedNotWait() {
        lose(seconds: 11)
        cluster.tell(.forget(MemberID(.shard, 0)))
        #expect(cluster.task != nil)
        cluster.acknowledge("s1")
        #expect(cluster.machine.activity == .train && cluster.machine.committed == 4)
        #expect(cluster.machine.record.members[MemberID(.shard, 0)] == nil)
        // It is told what to do with its directory.
        var state = CoordinatorFixture.holding(4)
        state.holdings = ShardHoldings(place: "host:/d0", slices: [0], mapVersion: 2)
        let answer = cluster.join("s0", previous: 0, state: state)
        #expect(
            answer.count == 1 && answer[0].hasPrefix("s0 refused stateLost: the directory host:/d0 is that of shard-0"))
        #expect(answer.first?.contains("Empty it") == true, "\(answer)")
    }

    @Test mutating func aHandOverThatTheLostShardTookPartInIsCalledOff() {
        cluster.start()
        cluster.commit(through: 4)
        cluster.join("s2")
        cluster.receive("s2")
        keep("s1")
        cluster.commit()
        guard case .handOver(let moves)? = cluster.task?.kind, moves.contains(where: { $0.from.number == 0 }) else {
            Issue.record("\(cluster.machine.activity)")
            return
        }
        for _ in 0..<42 {
            cluster.now += .seconds(1)
            keep("s1")
            cluster.beat("s2", "w0")
        }
        guard case .promote? = cluster.task?.kind else {
            Issue.record("\(cluster.machine.activity)")
            return
        }
        cluster.acknowledge("s1")
        #expect(cluster.machine.record.task == nil)
        #expect(!cluster.machine.record.owners.values.contains(0))
        #expect(cluster.machine.activity == .train, "\(cluster.machine.activity)")
    }

    @Test mutating func aShardThatGoesKeepsItsCopiesUntilItHasGone() {
        cluster.start()
        cluster.commit(through: 4)
        let before = cluster.machine.record.keepers
        cluster.tell(.drain(MemberID(.shard, 0)))
        cluster.commit()
        #expect(cluster.machine.record.keepers == before)
    }

    @Test mutating func copiesThatAreNotWantedAnyMoreAreGivenUp() {
        cluster.start()
        cluster.commit(through: 4)
        let database = cluster.database
        var configuration = Self.configuration()
        configuration.copies = 1
        cluster.machine = CoordinatorMachine(configuration, record: database)
        cluster.restart()
        cluster.join("s0", previous: 0, state: CoordinatorFixture.holding(4))
        cluster.join("s1", previous: 1, state: CoordinatorFixture.holding(4))
        cluster.join("w0")
        #expect(cluster.machine.record.keepers.isEmpty)
        #expect(cluster.machine.activity == .train, "\(cluster.machine.activity)")
    }

    @Test mutating func whenTheRunIsOverTheOperatorCanHaveThemMade() {
        cluster = CoordinatorFixture(
            CoordinatorFixture.configuration(steps: 3) { ($0.copies, $0.promoteAfter) = (2, .seconds(30)) })
        cluster.start()
        cluster.commit(through: 2)
        keep("s0")
        keep("s1")
        for _ in 0..<60 {
            cluster.now += .seconds(1)
            keep("s1")
        }
        #expect(cluster.machine.activity == .finished)
        cluster.tell(.forget(MemberID(.shard, 0)))
        cluster.acknowledge("s1")
        #expect(Set(cluster.machine.record.owners.values) == [1])
        #expect(cluster.machine.activity == .finished, "\(cluster.machine.activity)")
    }

    @Test mutating func theRunWaitsForCopiesIfItIsTo() {
        cluster = CoordinatorFixture(Self.configuration { $0.minimumCopies = 2 })
        cluster.start()
        #expect(cluster.waits == "waiting for second copies: 0 of 12 slices have one (cluster.min_copies)")
        keep("s0")
        keep("s1")
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.status(at: cluster.now).copies?.complete == 12)
    }

    @Test mutating func theStatusSaysWhatALossWouldCost() {
        cluster.start()
        cluster.commit(through: 2)
        keep("s0")
        keep("s1")
        cluster.commit(through: 9)
        let copies = cluster.machine.status(at: cluster.now).copies
        #expect(copies?.slices == 12 && copies?.complete == 12 && copies?.oldest == 2 && copies?.stepsToReplay == 7)
    }
}
