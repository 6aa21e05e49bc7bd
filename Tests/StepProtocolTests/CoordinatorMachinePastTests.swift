internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Directories that contradict what is known, pasts that were left, attempts that were mixed, and a database that is older than the
/// cluster.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachinePastTests {
    private var cluster = CoordinatorFixture(Self.configuration())

    private static func configuration(
        _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) -> CoordinatorConfiguration {
        CoordinatorFixture.configuration(steps: 100) {
            $0.checkpointDirectory = "/c"
            change(&$0)
        }
    }

    /// What shard 0 or 1 of the first map has in its own directory.
    private func holding(
        _ shard: Int, _ newest: Int, oldest: Int = -1, _ change: (inout ShardHoldings) -> Void = { _ in }
    ) -> ShardState {
        var state = CoordinatorFixture.holding(newest, oldest: oldest)
        var held = ShardHoldings(
            place: "host:/s\(shard)", identity: UInt64(shard + 1), slices: SliceSet(shard * 4..<shard * 4 + 4),
            denseSlices: SliceSet(shard * 2..<shard * 2 + 2), mapVersion: cluster.database.mapVersion,
            past: cluster.database.pasts.present)
        change(&held)
        state.holdings = held
        return state
    }

    private mutating func start() {
        cluster.start()
        // They come again with what they hold now.
        for shard in 0..<2 {
            cluster.join("s\(shard)", incarnation: UInt64(200 + shard), previous: shard, state: holding(shard, -1))
        }
        cluster.beat("w0")
    }

    private mutating func beat(_ shard: Int, durable: Int) {
        let report = ShardReport(
            committed: cluster.machine.committed, durable: durable, past: cluster.database.pasts.present)
        cluster.tell(
            .heartbeat("s\(shard)", MemberID(.shard, shard), incarnation: UInt64(200 + shard), report: report))
    }

    /// Of the next step but one.
    private mutating func takeCheckpoint() -> [String] {
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number ?? 0
        acknowledge()
        return cluster.tell(.checkpointWritten(number: number, problem: nil))
    }

    @discardableResult
    private mutating func acknowledge(_ details: [String] = ["", ""]) -> [String] {
        guard let number = cluster.task?.number else { return ["there is no task"] }
        return (0..<2).flatMap { shard in
            cluster.tell(
                .taskDone(
                    "s\(shard)", MemberID(.shard, shard), incarnation: UInt64(200 + shard), number: number,
                    .done(detail: details[shard])))
        }
    }

    // MARK: Directories

    @Test mutating func anOlderCopyOfALivingShardsDirectoryIsRefused() {
        start()
        cluster.commit(through: 5)
        for shard in 0..<2 { beat(shard, durable: 5) }
        let copy = holding(0, 2) { ($0.place, $0.identity) = ("host:/copy", 9) }
        let words = cluster.join("s7", incarnation: 900, previous: 0, state: copy)
        #expect(words.count == 2)
        #expect(
            words.last?.hasPrefix("s7 refused incarnation: the directory host:/copy at at s7 is not that of") == true)
        #expect(words.last?.contains("it ends with step 2, and shard-0 had step 5 on its disk") == true)
        #expect(words.last?.contains("shard-0 is the process at at s0, with the directory host:/s0: use that") == true)
        #expect(cluster.machine.activity == .train, "nobody is disturbed")
        #expect(cluster.commit() == ["committed 6 loss 1.25"])
    }

    @Test mutating func aCopyThatIsAsNewAsTheOriginalWaitsUntilItIsClearWhoIsAlive() {
        start()
        cluster.commit(through: 2)
        let copy = holding(0, 3) { $0.identity = 9 }
        #expect(cluster.join("s7", incarnation: 900, previous: 0, state: copy) == [], "no answer yet")
        cluster.pass(1, alive: ["w0"])
        beat(0, durable: 2)
        let words = cluster.join("s7", incarnation: 900, previous: 0, state: copy)
        #expect(words.last?.contains("shard-0 is alive, with another directory") == true)
        #expect(cluster.machine.activity == .train)
        // The original dies, and the copy is all that is left.
        #expect(cluster.join("s7", incarnation: 901, previous: 0, state: copy) == [])
        cluster.pass(9, alive: ["w0"])
        #expect(cluster.join("s7", incarnation: 901, previous: 0, state: copy) == [])
        cluster.pass(2, alive: ["w0"])
        #expect(cluster.join("s7", incarnation: 901, previous: 0, state: copy).contains("s7 is shard-0"))
    }

    @Test mutating func aProcessWithItsOwnDirectoryIsBackAtOnce() {
        start()
        cluster.commit(through: 2)
        beat(0, durable: 2)
        let words = cluster.join("s0", incarnation: 900, previous: 0, state: holding(0, 3))
        #expect(words == ["warning: step 3 is aborted: shard-0 was replaced", "s0 is shard-0"])
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func aCopyFromBeforeSlicesMovedIsRefusedAndTheOriginalIsNot() {
        start()
        cluster.commit(through: 5)
        cluster.tell(.left(MemberID(.shard, 0), incarnation: 200))
        // The map has given it more since.
        let copy = holding(0, 5) { $0.slices = [0, 1, 2] }
        let words = cluster.join("s7", incarnation: 900, previous: 0, state: copy)
        #expect(words.last?.contains("it lacks slice 3, of which shard-0 became the owner later") == true)
        #expect(words.last?.contains("`coordinator forget shard-0`") == true)
        #expect(cluster.waits?.contains("Refused: the directory host:/s0") == true, "the status says so")
        #expect(cluster.join("s0", incarnation: 901, previous: 0, state: holding(0, 5)) == ["s0 is shard-0"])
        #expect(cluster.machine.activity == .train)
        #expect(cluster.waits == nil)
    }

    @Test mutating func aCopyThatIsNotOwnedYetCounts() {
        start()
        cluster.commit(through: 5)
        cluster.tell(.left(MemberID(.shard, 0), incarnation: 200))
        let state = holding(0, 5) { ($0.slices, $0.received) = ([0, 1, 2], [3]) }
        #expect(cluster.join("s0", incarnation: 900, previous: 0, state: state) == ["s0 is shard-0"])
    }

    @Test mutating func aDirectoryOfAPastThatWasLeftIsRefused() {
        start()
        let before = holding(0, 9)
        _ = takeCheckpoint()
        cluster.commit(through: 9)
        cluster.tell(.restore(checkpoint: nil, step: nil))
        acknowledge()
        cluster.beat("w0")
        cluster.commit(through: 3)
        cluster.tell(.left(MemberID(.shard, 0), incarnation: 200))
        let words = cluster.join("s0", incarnation: 900, previous: 0, state: before)
        #expect(words.last?.contains("it is of a past that the cluster has left: it went back to step 1") == true)
        #expect(cluster.join("s0", incarnation: 901, previous: 0, state: holding(0, 3)) == ["s0 is shard-0"])
    }

    @Test mutating func whatAShardHadOnItsDiskIsKnownAfterARestart() {
        start()
        cluster.commit(through: 5)
        for shard in 0..<2 { beat(shard, durable: 5) }
        cluster.commit()
        cluster.restart()
        let words = cluster.join("s7", incarnation: 900, previous: 0, state: holding(0, 3))
        #expect(words.last?.contains("it ends with step 3, and shard-0 had step 5 on its disk") == true)
        #expect(cluster.join("s0", incarnation: 901, previous: 0, state: holding(0, 6)) == ["s0 is shard-0"])
    }

    @Test mutating func whoNeverSyncsMayComeBackWithLess() {
        start()
        cluster.commit(through: 5)
        for shard in 0..<2 { beat(shard, durable: 5) }
        cluster.tell(.left(MemberID(.shard, 0), incarnation: 200))
        let less = holding(0, 3) { $0.isSynced = false }
        cluster.join("s0", incarnation: 900, previous: 0, state: less)
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        #expect(cluster.task?.step == 3)
    }

    // MARK: Pasts

    @Test mutating func goingBackEndsTheCheckpointsOfWhatIsLeft() {
        start()
        for _ in 0..<3 { _ = takeCheckpoint() }
        #expect(cluster.machine.checkpoints.map(\.step) == [1, 3, 5])
        let words = cluster.tell(.restore(checkpoint: "/c/step-00000002", step: nil))
        #expect(words.filter { $0.hasPrefix("abandon") } == ["abandon /c/step-00000004", "abandon /c/step-00000006"])
        #expect(cluster.machine.checkpoints.map(\.step) == [1])
        #expect(
            cluster.decisions.contains { if case .checkpoints = $0 { true } else { false } }, "in the same transaction")
        acknowledge()
        cluster.beat("w0")
        cluster.commit(through: 4)
        cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(cluster.task?.step == 1, "the newest is not one of the past that was left")
    }

    @Test mutating func aCheckpointThatIsNamedLeadsToItsOwnPast() {
        start()
        for _ in 0..<3 { _ = takeCheckpoint() }
        let old = cluster.database.pasts.present
        cluster.tell(.restore(checkpoint: "/c/step-00000002", step: nil))
        acknowledge()
        cluster.beat("w0")
        _ = takeCheckpoint()
        #expect(cluster.machine.checkpoints.map(\.step) == [1, 3])
        // The operator wants the first future after all: the checkpoint of the second one is not of its past.
        let words = cluster.tell(.restore(checkpoint: "/c/step-00000006.abandoned", step: 5, past: old))
        #expect(words.contains("abandon /c/step-00000004"))
        #expect(cluster.machine.checkpoints.map(\.step) == [1])
    }

    @Test mutating func aCheckpointThatIsWrittenWhileTheClusterGoesBackDoesNotCount() {
        start()
        _ = takeCheckpoint()
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number ?? 0
        acknowledge()
        cluster.tell(.restore(checkpoint: nil, step: nil))
        let words = cluster.tell(.checkpointWritten(number: number, problem: nil))
        #expect(words.contains("abandon /c/step-00000004"))
        #expect(cluster.machine.checkpoints.map(\.step) == [1])
    }

    @Test mutating func everyGoingBackHasAnotherName() {
        start()
        _ = takeCheckpoint()
        var names: Set<UInt64> = [cluster.machine.plan.past]
        for _ in 0..<100 {
            cluster.tell(.restore(checkpoint: nil, step: nil))
            names.insert(cluster.machine.plan.past)
        }
        #expect(names.count == 101)
        #expect(!names.contains(0))
        #expect(cluster.database.pasts.count <= 64, "not without bound")
    }

    // MARK: Attempts

    private func attempts(_ shard: Int, _ newest: Int, _ attempt: Int, term: Int = 1) -> ShardState {
        holding(shard, newest) { $0.recent = [StepID(term: term, step: newest, attempt: attempt)] }
    }

    @Test mutating func attemptsThatWereMixedAreNoticedWhenEveryoneComesBack() {
        start()
        cluster.commit(through: 3)
        cluster.restart()
        cluster.join("s0", incarnation: 300, previous: 0, state: attempts(0, 3, 0))
        let words = cluster.join("s1", incarnation: 301, previous: 1, state: attempts(1, 3, 1))
        #expect(
            words.contains { $0.hasPrefix("warning: shards hold different attempts of step 3 (shard-0 attempt 0 of") })
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        #expect(cluster.task?.step == 2, "one step back")
    }

    @Test mutating func aShardWithAnotherAttemptThanTheCommittedOneIsNoticed() {
        start()
        cluster.commit(through: 3)
        cluster.tell(.left(MemberID(.shard, 1), incarnation: 201))
        let committed = StepID(term: cluster.machine.id.term, step: 3, attempt: 0)
        cluster.join("s1", incarnation: 300, previous: 1, state: attempts(1, 3, 5))
        #expect(cluster.task?.step == 2)
        acknowledge()
        cluster.tell(
            .taskDone(
                "s1", MemberID(.shard, 1), incarnation: 300, number: cluster.task?.number ?? 0, .done(detail: "")))
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id.step == committed.step)
    }

    @Test mutating func theSameAttemptIsNothingToSpeakOf() {
        start()
        cluster.commit(through: 3)
        cluster.restart()
        for shard in 0..<2 {
            cluster.join("s\(shard)", incarnation: UInt64(300 + shard), previous: shard, state: attempts(shard, 3, 0))
        }
        #expect(cluster.machine.committed == 3)
        #expect(cluster.task == nil)
        #expect(cluster.machine.plan.committedID == StepID(term: 1, step: 3, attempt: 0))
    }

    @Test mutating func whichAttemptWasCommittedIsKnownAfterARestart() {
        start()
        cluster.commit(through: 3)
        cluster.restart()
        // All shards have the same record, of an attempt that was not committed.
        cluster.join("s0", incarnation: 300, previous: 0, state: attempts(0, 3, 1))
        let words = cluster.join("s1", incarnation: 301, previous: 1, state: attempts(1, 3, 1))
        #expect(
            words.contains {
                $0.contains("(shard-0 attempt 1 of term 1, shard-1 attempt 1 of term 1; committed was attempt 0 of")
            })
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        #expect(cluster.task?.step == 2)
        #expect(cluster.database.attempts.map(\.step) == [0, 1, 2], "what was gone back behind counts no more")
    }

    @Test mutating func anAttemptThatIsNotKnownIsLearnedFromTheShards() {
        start()
        cluster.commit(through: 3)
        cluster.restart(losing: 2)
        for shard in 0..<2 {
            cluster.join("s\(shard)", incarnation: UInt64(300 + shard), previous: shard, state: attempts(shard, 3, 2))
        }
        #expect(cluster.task?.step == 3)
        #expect(cluster.machine.plan.committedID == nil)
        let number = cluster.task?.number ?? 0
        for shard in 0..<2 {
            cluster.tell(
                .taskDone(
                    "s\(shard)", MemberID(.shard, shard), incarnation: UInt64(300 + shard), number: number,
                    .done(detail: "1.3.2")))
        }
        #expect(cluster.task == nil)
        #expect(cluster.machine.plan.committedID == StepID(term: 1, step: 3, attempt: 2))
    }

    @Test mutating func everyoneWentBackToAnAttemptThatWasNotCommitted() {
        start()
        cluster.commit(through: 5)
        for shard in 0..<2 {
            cluster.join("s\(shard)", incarnation: UInt64(300 + shard), previous: shard, state: holding(shard, 3))
        }
        #expect(cluster.task?.step == 3)
        let number = cluster.task?.number ?? 0
        for shard in 0..<2 {
            cluster.tell(
                .taskDone(
                    "s\(shard)", MemberID(.shard, shard), incarnation: UInt64(300 + shard), number: number,
                    .done(detail: "1.3.7")))
        }
        #expect(cluster.task?.step == 2, "the committed attempt of step 3 is gone")
    }

    @Test mutating func whatComesWithACheckpointHasNoKnownAttempt() {
        start()
        _ = takeCheckpoint()
        #expect(cluster.machine.plan.committedID?.step == cluster.machine.committed)
        cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(cluster.machine.plan.committedID == nil)
    }

    @Test mutating func whoeverGoesBackSaysWhichAttemptItHoldsThen() {
        start()
        cluster.commit(through: 5)
        for shard in 0..<2 {
            cluster.join("s\(shard)", incarnation: UInt64(300 + shard), previous: shard, state: holding(shard, 3))
        }
        #expect(cluster.task?.step == 3)
        let number = cluster.task?.number ?? 0
        func say(_ shard: Int, _ detail: String) {
            cluster.tell(
                .taskDone(
                    "s\(shard)", MemberID(.shard, shard), incarnation: UInt64(300 + shard), number: number,
                    .done(detail: detail)))
        }
        say(0, "1.3.0")
        say(1, "1.3.1")
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        #expect(cluster.task?.step == 2, "one step further")
    }

    // MARK: The end

    @Test mutating func aRunThatIsFinishedNoticesAShardWithoutItsLastSteps() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 4))
        start()
        cluster.commit(through: 3)
        for shard in 0..<2 { beat(shard, durable: -1) }
        #expect(cluster.machine.activity == .finished)
        cluster.tell(.left(MemberID(.shard, 1), incarnation: 201))
        let words = cluster.join("s1", incarnation: 301, previous: 1, state: holding(1, 2))
        #expect(words.contains("warning: the run had finished, but shard-1 has come back without its last steps"))
        #expect(cluster.task?.step == 2)
        let number = cluster.task?.number ?? 0
        cluster.tell(.taskDone("s0", MemberID(.shard, 0), incarnation: 200, number: number, .done(detail: "")))
        cluster.tell(.taskDone("s1", MemberID(.shard, 1), incarnation: 301, number: number, .done(detail: "")))
        #expect(cluster.machine.activity == .train, "with the workers there are")
        #expect(cluster.machine.id.step == 3)
    }

    @Test mutating func aRunThatIsFinishedDoesNotThrowItselfAwayForAShardThatLogsNothing() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 4))
        let memory = ShardState(newest: -1, oldest: 0, logsSteps: false)
        for shard in 0..<2 { cluster.join("s\(shard)", state: memory) }
        cluster.join("w0")
        cluster.commit(through: 3)
        cluster.beat("s0", "s1")
        #expect(cluster.machine.activity == .finished)
        cluster.join("s1", incarnation: 301, state: memory)
        #expect(
            cluster.waits?.hasPrefix("the run had finished, and shard-1 has lost its state: `coordinator restore`")
                == true)
        #expect(cluster.machine.committed == 3)
    }

    // MARK: A database that was put back

    /// A hello may say what it likes: whose state it is must be clear before any of it counts.
    @Test mutating func aStrangerOfTheFutureDoesNotTakeALivingShardsPlace() {
        start()
        cluster.commit(through: 3)
        let state = holding(1, 3) {
            ($0.identity, $0.place) = (77, "elsewhere")
            ($0.mapVersion, $0.lastTask) = (1 << 40, 1 << 40)
            ($0.past, $0.recent) = (.max, [StepID(term: 1 << 18, step: 3, attempt: 0)])
        }
        #expect(cluster.join("s9", incarnation: 999, previous: 1, state: state) == [], "it waits")
        #expect(cluster.machine.activity == .train)
        #expect(cluster.database.term == 1)
        beat(1, durable: 3)
        cluster.now += .seconds(1)
        beat(1, durable: 3)
        let words = cluster.join("s9", incarnation: 999, previous: 1, state: state)
        #expect(words.contains { $0.hasPrefix("s9 refused incarnation") && $0.contains("shard-1 is alive") })
        #expect(cluster.machine.isMember(MemberID(.shard, 1), incarnation: 201))
    }

    @Test mutating func aTermIsAboveAllThatMembersKnow() {
        start()
        cluster.commit(through: 3)
        #expect(cluster.tell(.knows(term: 7, coordinator: 5, from: 9_999)) == [], "a stranger begins no term")
        let words = cluster.tell(.knows(term: 7, coordinator: 5, from: 200))
        #expect(
            words.last?.hasPrefix("warning: members know term 7, the database 1: it is older than the cluster") == true)
        #expect(cluster.database.term == 8)
        #expect(cluster.plans["w0"]?.id.term == 8)
        #expect(cluster.tell(.knows(term: 7, coordinator: 5, from: 200)) == [])
        #expect(
            cluster.tell(.knows(term: 8, coordinator: 0, from: 200)) == [], "what this coordinator has begun itself")
        #expect(cluster.beat("w0") == [])
        // Shards say again what they hold.
        let refused = cluster.tell(
            .heartbeat("s0", MemberID(.shard, 0), incarnation: 200, report: ShardReport(committed: 3, durable: 3)))
        #expect(refused == ["s0 refused notWelcomed: the coordinator was restarted; join again"])
        for term in [1 << 60, 1 << 30] {
            #expect(cluster.tell(.knows(term: term, coordinator: 5, from: 200)) == [], "not believed")
        }
    }

    @Test mutating func whoOwnsWhatIsTakenFromShardsThatKnowALaterMap() {
        start()
        cluster.commit(through: 1)
        let old = cluster.database
        // Meanwhile all slices have moved to a shard that the copy does not know.
        let moved = holding(0, 9) { held in
            (held.slices, held.denseSlices) = (SliceSet(0..<8), SliceSet(0..<4))
            (held.mapVersion, held.lastTask) = (old.mapVersion + 4, 12)
        }
        cluster.restart()
        let words = cluster.join("s2", incarnation: 302, previous: 2, state: moved)
        #expect(words.first?.hasPrefix("warning: shard-2 holds more than the database knows of") == true)
        #expect(Set(cluster.database.owners.values) == [2])
        #expect(cluster.database.mapVersion == old.mapVersion + 5)
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        #expect(cluster.task?.step == 9, "and what was trained too")
        #expect(cluster.task.map { $0.number > 12 } == true, "not a number that shards have done")
    }

    /// A shard that says a number which nobody has given would leave none above it.
    @Test mutating func numbersThatNobodyGaveAreNotBelieved() {
        start()
        cluster.commit(through: 1)
        let old = cluster.database
        cluster.restart()
        let moved = holding(0, 9) { held in
            (held.slices, held.denseSlices) = (SliceSet(0..<8), SliceSet(0..<4))
            (held.mapVersion, held.lastTask) = (old.mapVersion + 4, 12)
        }
        let number = MemberID.numberLimit - 1
        let words = cluster.join("s2", incarnation: 302, previous: number, state: moved)
        #expect(words.contains { $0.hasPrefix("s2 refused stateLost") }, "\(words)")
        #expect(
            cluster.database.nextShard == old.nextShard && cluster.database.members[MemberID(.shard, number)] == nil)
    }

    @Test mutating func aDatabaseThatIsOlderWaitsForAllSlices() {
        start()
        cluster.commit(through: 1)
        cluster.restart()
        let held = holding(0, 9) { $0.mapVersion += 4 }
        cluster.join("s0", incarnation: 300, previous: 0, state: held)
        #expect(
            cluster.waits?.hasPrefix(
                "the database is older than the cluster, and no shard that is there has slice 4 and 5 more: start every"
            ) == true)
        #expect(cluster.plans["s0"] == nil, "an old map would only do harm")
        cluster.join("s1", incarnation: 301, previous: 1, state: holding(1, 9) { $0.mapVersion += 4 })
        #expect(cluster.task?.step == 9)
        #expect(cluster.plans["s0"]?.mapVersion ?? 0 > 4)
    }

    @Test mutating func whenShardsAreOfDifferentPastsTheOperatorGoesBackToACheckpoint() {
        start()
        _ = takeCheckpoint()
        cluster.restart()
        for shard in 0..<2 {
            let held = holding(shard, 9) { ($0.mapVersion, $0.past) = ($0.mapVersion + 4, 1 << 30 + UInt64(shard)) }
            cluster.join("s\(shard)", incarnation: UInt64(300 + shard), previous: shard, state: held)
        }
        #expect(cluster.waits?.contains("its shards are of different pasts") == true)
        let map = cluster.database.mapVersion
        cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(cluster.task?.kind == .restore(checkpoint: "/c/step-00000002"))
        #expect(cluster.database.mapVersion > map + 4)
    }

    @Test mutating func operationsOnTheClassesThatADatabaseDoesNotKnowAreNotGuessed() {
        start()
        cluster.commit(through: 1)
        cluster.restart()
        for shard in 0..<2 {
            let held = holding(shard, 9) { ($0.mapVersion, $0.classVersion) = ($0.mapVersion + 4, 2) }
            cluster.join("s\(shard)", incarnation: UInt64(300 + shard), previous: shard, state: held)
        }
        #expect(cluster.waits?.contains("it knows 0 operations on the classes, the shards have done 2") == true)
    }
}
