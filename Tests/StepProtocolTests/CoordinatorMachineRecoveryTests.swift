internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Processes that were killed, hosts that lost power, directories that are lost, and going back.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineRecoveryTests {
    private var cluster = CoordinatorFixture(Self.configuration())

    private static func configuration(
        _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) -> CoordinatorConfiguration {
        CoordinatorFixture.configuration(steps: 100) {
            $0.checkpointDirectory = "/c"
            $0.onNotFinite = .skip(limit: 2)
            change(&$0)
        }
    }

    // MARK: The coordinator

    @Test mutating func aRestartBeginsATermAndKeepsEveryone() {
        cluster.start()
        cluster.commit(through: 1)
        let old = cluster.result(0)
        cluster.restart()
        #expect(cluster.decisions == [.term(2, committed: 1)])
        #expect(cluster.machine.id == StepID(term: 2, step: 2, attempt: 0))
        #expect(
            cluster.beat("s0") == ["s0 refused notWelcomed: the coordinator was restarted; join again"],
            "it must say what it holds")
        #expect(cluster.tell(cluster.done(0, old)) == [])
        #expect(cluster.plans["w0"]?.id.term == 2)
        #expect(cluster.join("s0", state: CoordinatorFixture.holding(1)) == ["s0 is shard-0"])
        #expect(cluster.join("s1", state: CoordinatorFixture.holding(1)) == ["s1 is shard-1"])
        #expect(cluster.machine.activity == .train)
        #expect(cluster.tell(cluster.done(0, old)) == [], "nothing of an older term counts")
        #expect(cluster.commit() == ["committed 2 loss 1.25"])
    }

    @Test mutating func everyStartHasANewTerm() {
        for term in 1...4 {
            #expect(cluster.machine.id.term == term)
            cluster.restart()
        }
    }

    @Test mutating func aCommitThatThePowerTookIsFoundAtTheShards() {
        cluster.start()
        cluster.commit(through: 5)
        cluster.restart(losing: 2)
        #expect(cluster.machine.committed == 3)
        cluster.join("s0", state: CoordinatorFixture.holding(6))
        cluster.join("s1", state: CoordinatorFixture.holding(5))
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        #expect(cluster.task?.step == 5, "the last step that everyone has")
        cluster.acknowledge("s0", "s1")
        cluster.beat("w0")
        #expect(cluster.machine.id == StepID(term: 3, step: 6, attempt: 0))
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func aShardIsNotTakenForWhatALateHelloSays() {
        cluster.start()
        cluster.commit(through: 0)
        cluster.restart(losing: 1)
        // What they said when they came for the first time.
        cluster.join("s0")
        cluster.join("s1")
        cluster.beat("w0")
        #expect(cluster.machine.committed == -1)
        let report = ShardReport(committed: 0, durable: 0)
        #expect(
            cluster.beat("s1", report: report)
                == [
                    "s1 refused notWelcomed: shard-1 has committed step 0, the cluster -1; join again",
                    "warning: step 0 is aborted: shard-1 is gone",
                ])
        #expect(cluster.machine.activity != .train)
        cluster.join("s1", state: CoordinatorFixture.holding(0))
        #expect(cluster.task?.kind == .restore(checkpoint: nil), "all go to the same step")
        #expect(cluster.beat("s0", "s1", report: report) == [], "shards are where they were until they have gone back")
        cluster.acknowledge("s0", "s1")
        cluster.beat("w0")
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func aCrashAfterAnyDecisionIsFollowedByTheSameRun() {
        // A script with everything in it, and the database after each event.
        cluster = CoordinatorFixture(Self.configuration { $0.checkpointEverySteps = 4 })
        var databases: [CoordinatorRecord] = []
        func record() { databases.append(cluster.database) }
        for peer in ["s0", "s1", "w0"] {
            cluster.join(peer)
            record()
        }
        func step() {
            for receiver in ["s0", "s2"]
            where cluster.machine.plan.moves.contains(where: { "\($0.to)".hasSuffix(receiver.suffix(1)) }) {
                cluster.receive(receiver)
            }
            if let number = cluster.task?.number {
                let isCheckpoint = if case .checkpoint = cluster.task?.kind { true } else { false }
                for peer in ["s0", "s1", "s2"] where cluster.task?.number == number {
                    cluster.acknowledge(peer)
                    record()
                }
                if isCheckpoint { cluster.tell(.checkpointWritten(number: number, problem: nil)) }
            } else {
                cluster.commit()
            }
            record()
        }
        for _ in 0..<3 { step() }
        cluster.join("s2")
        record()
        for _ in 0..<8 { step() }
        cluster.tell(.classes(.retire([5])))
        for _ in 0..<4 { step() }
        cluster.tell(cluster.failed(.notFinite, "nan"))
        record()
        for _ in 0..<4 { step() }
        cluster.tell(.drain(MemberID(.shard, 1)))
        for _ in 0..<12 { step() }
        #expect(cluster.database.members[MemberID(.shard, 1)] == nil, "the script does what it should")
        #expect(cluster.database.classVersion == 1)

        for database in databases where !database.owners.isEmpty {
            cluster.database = database
            cluster.restart()
            #expect(cluster.database.committed == database.committed)
            for member in database.members.keys.sorted() where member.role == .shard {
                let owns = database.owners.values.contains(member.number)
                cluster.join(
                    "s\(member.number)", state: owns ? CoordinatorFixture.holding(database.committed) : nil)
            }
            if cluster.join("w0") == [] { Issue.record("the worker is not let in") }
            let worker = cluster.database.members.keys.filter { $0.role == .worker }.map(\.number)
            #expect(worker == [0])
            let from = cluster.machine.committed
            for _ in 0..<40 where cluster.machine.committed < from + 6 { step() }
            #expect(cluster.machine.committed >= from + 6, "from \(database)")
            #expect(cluster.database.owners.count == 12)
            #expect(cluster.database.classVersion == cluster.database.operations.count)
        }
    }

    // MARK: Shards

    @Test mutating func aShardThatIsStartedAgainTakesItsNumberAndTheStepIsTriedAgain() {
        cluster.start()
        cluster.commit()
        let words = cluster.join("s9", incarnation: 900, previous: 1, state: CoordinatorFixture.holding(1))
        #expect(words == ["warning: step 1 is aborted: shard-1 was replaced", "s9 is shard-1"])
        #expect(cluster.machine.id == StepID(term: 1, step: 1, attempt: 1))
        #expect(cluster.machine.plan.shards[1].endpoint == "at s9")
        #expect(cluster.machine.activity == .train)
        let zombie = cluster.beat("s1")
        #expect(zombie == ["s1 refused incarnation: another process is shard-1 now; join again"])
    }

    @Test mutating func aShardThatNeverLeftKeepsItsAttempt() {
        cluster.start()
        cluster.commit()
        #expect(cluster.join("s1", previous: 1, state: CoordinatorFixture.holding(0)) == ["s1 is shard-1"])
        #expect(cluster.machine.id == StepID(term: 1, step: 1, attempt: 0))
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func whoLostStepsToAPowerCutTakesAllBackToThem() {
        cluster.start()
        cluster.commit(through: 5)
        cluster.join("s1", incarnation: 300, previous: 1, state: CoordinatorFixture.holding(3))
        #expect(cluster.task?.kind == .restore(checkpoint: nil))
        #expect(cluster.task?.step == 3)
        #expect(cluster.machine.committed == 3)
        #expect(cluster.database.term == 2)
        #expect(cluster.plans["s0"]?.id.term == 2, "who holds more goes back too")
        cluster.acknowledge("s0")
        #expect(cluster.machine.activity != .train)
        let task = cluster.task?.number ?? 0
        cluster.tell(.taskDone("s1", MemberID(.shard, 1), incarnation: 300, number: task, .done(detail: "")))
        #expect(cluster.machine.id == StepID(term: 2, step: 4, attempt: 0))
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func aLostDirectoryWaitsForTheOperator() {
        cluster.start()
        cluster.takeCheckpoint()
        cluster.commit(through: 3)
        cluster.tell(.left(MemberID(.shard, 1), incarnation: 101))
        cluster.join("s1", incarnation: 300)
        #expect(cluster.waits?.hasPrefix("shard-1 came back without the state of step 3: start it with its") == true)
        cluster.pass(3, alive: ["w0", "s0"])
        #expect(cluster.machine.committed == 3, "nothing is thrown away unasked")
        #expect(
            cluster.tell(.restore(checkpoint: nil, step: nil)) == [
                "warning: the cluster goes back to step 0: /c/step-00000001"
            ])
        #expect(cluster.task?.kind == .restore(checkpoint: "/c/step-00000001"))
        let task = cluster.task?.number ?? 0
        cluster.acknowledge("s0")
        cluster.tell(.taskDone("s1", MemberID(.shard, 1), incarnation: 300, number: task, .done(detail: "")))
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id.step == 1)
    }

    @Test mutating func aShardThatIsGivenUpLeavesItsSlicesToTheOthers() {
        cluster.start()
        #expect(cluster.tell(.forget(MemberID(.shard, 1))) == ["no: shard-1 is alive; use drain"])
        #expect(cluster.tell(.forget(MemberID(.shard, 5))) == ["no: there is no shard-5"])
        cluster.commit()
        cluster.tell(.left(MemberID(.shard, 1), incarnation: 101))
        #expect(
            cluster.tell(.forget(MemberID(.shard, 1)))
                == ["no: there is no checkpoint: the state of shard-1 is nowhere else"])
        cluster.join("s1", incarnation: 101, previous: 1, state: CoordinatorFixture.holding(0))
        cluster.takeCheckpoint()
        cluster.commit(through: 4)
        cluster.tell(.left(MemberID(.shard, 1), incarnation: 101))
        cluster.tell(.forget(MemberID(.shard, 1)))
        #expect(cluster.task?.kind == .restore(checkpoint: "/c/step-00000002"))
        #expect(cluster.slices.mapValues(\.count) == [0: 8])
        cluster.acknowledge("s0")
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id == StepID(term: 2, step: 2, attempt: 0))
        let late = cluster.join("s1", incarnation: 101, previous: 1, state: CoordinatorFixture.holding(4))
        #expect(late.first?.hasPrefix("s1 refused stateLost: this shard's directory is that of") == true)
    }

    @Test(arguments: [true, false])
    mutating func aClusterWithoutLogsReturnsToItsCheckpoint(_ hasCheckpoint: Bool) {
        let memory = ShardState(newest: -1, oldest: 0, logsSteps: false)
        for shard in 0..<2 { cluster.join("s\(shard)", state: memory) }
        cluster.join("w0")
        if hasCheckpoint { cluster.takeCheckpoint() }
        cluster.commit(through: 3)
        cluster.join("s1", incarnation: 300, state: memory)
        #expect(cluster.task?.kind == .restore(checkpoint: hasCheckpoint ? "/c/step-00000001" : ""))
        #expect(cluster.machine.committed == (hasCheckpoint ? 0 : -1))
    }

    @Test mutating func aShardThatLosesItsStateInTheMiddleOfATaskIsNotedAtOnce() {
        let memory = ShardState(newest: -1, oldest: 0, logsSteps: false)
        for shard in 0..<2 { cluster.join("s\(shard)", state: memory) }
        cluster.join("w0")
        cluster.takeCheckpoint()
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        #expect(cluster.task != nil)
        cluster.acknowledge("s0")
        cluster.join("s1", incarnation: 300, state: memory)
        #expect(cluster.task?.kind == .restore(checkpoint: "/c/step-00000001"), "it could not write what it has not")
    }

    @Test mutating func beforeTheFirstCommitAShardMayStartAgainWithNothing() {
        cluster.start()
        cluster.join("s1", incarnation: 300)
        #expect(cluster.machine.activity == .train)
        #expect(cluster.machine.id == StepID(term: 1, step: 0, attempt: 1))
    }

    // MARK: Going back

    @Test mutating func goingBackNeedsSomethingToGoBackTo() {
        #expect(cluster.tell(.restore(checkpoint: nil, step: nil)) == ["no: there is no checkpoint to go back to"])
        #expect(cluster.tell(.restore(checkpoint: "", step: -1)) == ["no: the slices are not divided yet"])
        cluster.start()
        #expect(cluster.tell(.restore(checkpoint: "/x", step: nil)) == ["no: there is no checkpoint to go back to"])
    }

    @Test mutating func goingBackIsOneDecisionWithEverythingThatBelongsToIt() {
        cluster.start()
        cluster.takeCheckpoint()
        cluster.tell(.classes(.retire([3])))
        cluster.commit()
        cluster.acknowledge("s0", "s1")
        cluster.commit()
        cluster.tell(.restore(checkpoint: nil, step: nil))
        // The fixture has checked that these come before all messages; the shell writes them in one transaction.
        #expect(cluster.decisions.contains(.term(2, committed: 0)))
        #expect(cluster.decisions.last == .task(cluster.task))
        #expect(cluster.database.classVersion == 0)
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)", state: CoordinatorFixture.holding(2)) }
        #expect(cluster.task?.kind == .restore(checkpoint: "/c/step-00000001"), "a crash does not forget it")
    }

    @Test mutating func aRunThatFailedGoesOnFromACheckpoint() {
        cluster.start()
        cluster.takeCheckpoint()
        cluster.tell(cluster.failed(.labelOutOfRange, "label 99"))
        #expect(cluster.database.failure != nil)
        cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(cluster.database.failure == nil)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func whatIsSafeIsNotClaimedAnewAfterGoingBack() {
        cluster.start()
        cluster.takeCheckpoint()
        cluster.commit(through: 5)
        cluster.beat("s0", "s1")
        #expect(cluster.machine.plan.safe == 5)
        cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(cluster.machine.plan.safe == -1)
        cluster.beat("s0")
        #expect(cluster.machine.plan.safe == -1, "the other has said nothing since")
        cluster.beat("s1")
        #expect(cluster.machine.plan.safe == 0)
    }

    @Test mutating func aRunBeginsFromACheckpointOfAnother() {
        cluster = CoordinatorFixture(
            Self.configuration { $0.origin = .init(directory: "/old", step: 7, classVersion: 0) })
        cluster.start()
        #expect(cluster.task?.kind == .restore(checkpoint: "/old"))
        #expect(cluster.task?.step == 7)
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)") }
        #expect(cluster.task?.kind == .restore(checkpoint: "/old"))
        cluster.acknowledge("s0", "s1")
        cluster.beat("w0")
        #expect(cluster.machine.id.step == 8)
        #expect(cluster.machine.activity == .train)
    }
}
