internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Boundary tasks: steps that are skipped, checkpoints, changes of the classes.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineTaskTests {
    private var cluster = CoordinatorFixture(Self.configuration())

    private static func configuration(
        _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) -> CoordinatorConfiguration {
        CoordinatorFixture.configuration(steps: 30) {
            $0.checkpointDirectory = "/c"
            $0.onNotFinite = .skip(limit: 2)
            change(&$0)
        }
    }

    // MARK: Steps that are skipped

    @Test mutating func aStepThatIsNotFiniteIsSkippedByAll() {
        cluster.start()
        cluster.commit()
        let late = cluster.result(0)
        cluster.tell(cluster.failed(.notFinite, "layer 3 of rank 0 is nan"))
        #expect(cluster.task?.kind == .skip)
        #expect(cluster.task?.step == 1)
        #expect(cluster.plans["w0"]?.activity == cluster.machine.activity, "workers wait too")
        #expect(cluster.tell(cluster.done(0, late)) == [], "nothing of the step counts")
        cluster.acknowledge("s0")
        #expect(cluster.machine.committed == 0)
        #expect(cluster.acknowledge("s1") == ["committed 1 loss none"])
        #expect(cluster.decisions == [.committed(.skipped(1)), .task(nil)])
        #expect(cluster.machine.id == StepID(term: 1, step: 2, attempt: 0))
        #expect(cluster.machine.activity == .train)
        let status = cluster.machine.status(at: cluster.now)
        #expect(status.skippedSteps == 1)
        #expect(status.lastSkipped?.step == 1)
        #expect(status.lastSkipped?.message == "rank 0 (worker-0): layer 3 of rank 0 is nan")
    }

    @Test mutating func tooManyInARowEndTheRun() {
        cluster.start()
        func skip() {
            cluster.tell(cluster.failed(.notFinite, "nan"))
            cluster.acknowledge("s0", "s1")
        }
        skip()
        cluster.commit()
        skip()
        skip()
        #expect(cluster.machine.committed == 3)
        let end = cluster.tell(cluster.failed(.notFinite, "nan"))
        #expect(
            end.contains("failed: step 4: rank 0 (worker-0): nan; 2 steps in a row were skipped before it"))
        cluster.restart()
        #expect(cluster.database.failure == nil, "a run may be taken up again")
    }

    @Test mutating func aTaskThatMustHappenStaysDecidedWhenItFails() {
        cluster.start()
        cluster.tell(cluster.failed(.notFinite, "nan"))
        let number = cluster.task?.number
        cluster.acknowledge("s0")
        let full = TaskOutcome.failed(message: "the disk is full")
        #expect(
            cluster.acknowledge("s1", outcome: full) == ["error: skip after step 0 failed: shard-1: the disk is full"])
        #expect(cluster.waits == "tried again in a moment: shard-1: the disk is full")
        #expect(cluster.database.task?.number == number, "one shard has skipped the step already")
        cluster.tell(.stop)
        #expect(cluster.machine.activity != .finished)
        cluster.pass(2, alive: ["w0", "s0", "s1"])
        #expect(cluster.task?.number == number)
        #expect(cluster.acknowledge("s1", outcome: full) == [], "said once")
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)", state: CoordinatorFixture.holding(0)) }
        #expect(cluster.task?.number == number, "a crash does not forget it")
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.committed == 0)
    }

    @Test mutating func onlyWhoMustAcknowledgesIsHeard() {
        cluster.start()
        cluster.join("s2")
        cluster.tell(cluster.failed(.notFinite, "nan"))
        #expect(cluster.acknowledge("s2", outcome: .failed(message: "odd")) == [])
        let number = cluster.task?.number ?? 0
        for wrong in [number - 1, number + 1] {
            cluster.tell(.taskDone("s0", MemberID(.shard, 0), incarnation: 100, number: wrong, .done(detail: "")))
        }
        let zombie = cluster.tell(
            .taskDone("old", MemberID(.shard, 0), incarnation: 99, number: number, .done(detail: "")))
        #expect(zombie == ["old refused incarnation: another process is shard-0 now; join again"])
        #expect(
            cluster.machine.status(at: cluster.now).taskPending == [MemberID(.shard, 0), MemberID(.shard, 1)])
    }

    @Test mutating func whatAProcessAcknowledgedGoesWithIt() {
        cluster.start()
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number
        cluster.acknowledge("s0")
        cluster.join("s0", incarnation: 200, previous: 0, state: CoordinatorFixture.holding(1))
        #expect(cluster.acknowledge("s1") == [])
        #expect(cluster.task?.number == number)
        #expect(cluster.plans.isEmpty || cluster.task != nil)
        let last = cluster.tell(
            .taskDone("s0", MemberID(.shard, 0), incarnation: 200, number: number ?? 0, .done(detail: "")))
        #expect(last.first?.hasPrefix("write ") == true)
    }

    // MARK: Checkpoints

    /// Everyone writes, then the shell the manifest.
    private mutating func write(_ problem: String? = nil) -> [String] {
        let number = cluster.task?.number ?? 0
        let words = cluster.acknowledge("s0", "s1", outcome: .done(detail: "files"))
        return words + cluster.tell(.checkpointWritten(number: number, problem: problem))
    }

    @Test mutating func aCheckpointIsThereWhenItsManifestIs() {
        cluster.start()
        cluster.commit()
        #expect(cluster.tell(.checkpoint) == [])
        #expect(cluster.machine.activity == .train, "at the boundary, not before")
        cluster.commit()
        #expect(cluster.task?.kind == .checkpoint(directory: "/c/step-00000002.partial"))
        #expect(cluster.task?.step == 1)
        let number = cluster.task?.number ?? 0
        let words = cluster.acknowledge("s0", "s1", outcome: .done(detail: "files"))
        #expect(words == ["write \(number) /c/step-00000002 [\"files\", \"files\"]"])
        #expect(cluster.machine.activity == .train, "the manifest is written meanwhile")
        #expect(cluster.machine.checkpoints == [])
        #expect(cluster.tell(.checkpointWritten(number: number, problem: nil)) == [])
        #expect(cluster.machine.checkpoints.map(\.step) == [1])
        #expect(cluster.machine.checkpoints.first?.directory == "/c/step-00000002")
        #expect(cluster.machine.checkpoints.first?.past == cluster.machine.plan.past)
        #expect(cluster.tell(.checkpointWritten(number: number, problem: nil)) == [])
        #expect(cluster.machine.checkpoints.count == 1)
    }

    /// A shard that is lost for good would hold it up for ever: it is said what to do.
    @Test mutating func aTaskThatLacksAShardSaysForWhomItWaits() {
        cluster.start()
        cluster.commit()
        cluster.takeCheckpoint()
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number
        #expect(number != nil)
        cluster.acknowledge("s1")
        cluster.pass(20, alive: ["w0", "s1"])
        #expect(cluster.waits?.contains("coordinator forget shard-0") == true, "\(cluster.machine.activity)")
        #expect(cluster.machine.record.task?.number == number)
        cluster.join("s0", previous: 0, state: CoordinatorFixture.holding(3))
        #expect(number != nil && cluster.task?.number == number, "\(cluster.machine.activity)")
        #expect(cluster.acknowledge("s0") == ["write \(number ?? 0) /c/step-00000004 [\"\", \"\"]"])
    }

    @Test mutating func checkpointsComeEveryNStepsAndOldOnesGo() {
        cluster = CoordinatorFixture(
            Self.configuration {
                $0.checkpointEverySteps = 3
                $0.checkpointsKept = 2
            })
        cluster.start()
        var words: [String] = []
        while cluster.machine.committed < 11 {
            cluster.commit()
            if cluster.task != nil { words += write() }
        }
        #expect(cluster.machine.checkpoints.map(\.step) == [8, 11])
        #expect(words.filter { $0.hasPrefix("delete") } == ["delete /c/step-00000003", "delete /c/step-00000006"])
    }

    @Test(arguments: [true, false])
    mutating func aCheckpointThatFailedIsTriedAtTheNextTurnNotAtOnce(_ byShard: Bool) {
        cluster = CoordinatorFixture(Self.configuration { $0.checkpointEverySteps = 3 })
        cluster.start()
        cluster.commit(through: 2)
        #expect(cluster.task != nil)
        if byShard {
            cluster.acknowledge("s0", outcome: .failed(message: "the disk is full"))
        } else {
            #expect(write("the disk is full").last == "error: the checkpoint of step 2 failed: the disk is full")
        }
        #expect(cluster.machine.activity == .train)
        cluster.commit(through: 4)
        #expect(cluster.task == nil)
        cluster.commit()
        #expect(cluster.task?.step == 5)
        #expect(cluster.machine.checkpoints == [])
    }

    @Test mutating func checkpointsComeByTime() {
        cluster = CoordinatorFixture(Self.configuration { $0.checkpointEvery = .seconds(60) })
        cluster.start()
        let everyone = ["w0", "s0", "s1"]
        cluster.pass(59, alive: everyone)
        cluster.commit()
        #expect(cluster.task == nil)
        cluster.pass(1, alive: everyone)
        cluster.commit()
        #expect(cluster.task?.step == 1)
        _ = write()
        cluster.tell(.pause)
        cluster.commit()
        cluster.pass(60, alive: everyone)
        #expect(cluster.task?.step == 2, "also of a run that is paused")
        _ = write()
        cluster.pass(120, alive: everyone)
        #expect(cluster.task == nil, "nothing has changed since")
    }

    @Test mutating func aRunThatIsFinishedCanBeWritten() {
        cluster.start()
        cluster.tell(.stop)
        cluster.commit()
        #expect(cluster.beat("s0", "s1") == ["finished"])
        cluster.tell(.checkpoint)
        #expect(cluster.task?.kind == .checkpoint(directory: "/c/step-00000001.partial"))
        _ = write()
        #expect(cluster.machine.activity == .finished)
        #expect(cluster.machine.checkpoints.map(\.step) == [0])
        #expect(cluster.tell(.checkpoint) == [], "it is there already")
        #expect(cluster.machine.activity == .finished)
    }

    @Test mutating func aCheckpointNeedsSomethingToWriteAndAPlace() {
        #expect(cluster.tell(.checkpoint) == ["no: there is nothing to write yet"])
        cluster = CoordinatorFixture()
        cluster.start()
        #expect(cluster.tell(.checkpoint) == ["no: the configuration has no checkpoint.directory"])
    }

    @Test mutating func aCheckpointThatIsBeingReadIsKept() {
        cluster = CoordinatorFixture(Self.configuration { $0.checkpointsKept = 1 })
        cluster.start()
        cluster.commit()
        cluster.takeCheckpoint()
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number ?? 0
        cluster.acknowledge("s0", "s1")
        cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(cluster.task?.kind == .restore(checkpoint: "/c/step-00000002"))
        #expect(
            cluster.tell(.checkpointWritten(number: number, problem: nil)).last == "abandon /c/step-00000004",
            "it is of what was left")
        #expect(cluster.machine.checkpoints.map(\.step) == [1])
    }

    // MARK: Classes

    @Test mutating func classesChangeAtABoundaryOneOperationAfterTheOther() {
        cluster.start()
        #expect(cluster.tell(.classes(.add(count: 5, path: ""))) == [])
        #expect(cluster.tell(.classes(.retire([3]))) == [])
        #expect(cluster.machine.status(at: cluster.now).pendingOperations.count == 2)
        let map = cluster.machine.plan.mapVersion
        cluster.commit()
        #expect(cluster.task?.kind == .classes(.add(count: 5, path: "")))
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.classVersion == 1)
        #expect(cluster.task?.kind == .classes(.retire([3])))
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.plan.classVersion == 2)
        #expect(cluster.machine.plan.mapVersion == map + 2)
        #expect(cluster.machine.operations.map(\.afterStep) == [0, 0])
        #expect(cluster.machine.activity == .train)
    }

    @Test mutating func aChangeOfTheClassesSurvivesACrashInTheMiddle() {
        cluster.start()
        cluster.commit()
        cluster.tell(.classes(.merge(from: 1, into: 2)))
        cluster.commit()
        let number = cluster.task?.number
        cluster.acknowledge("s0")
        cluster.restart()
        for shard in 0..<2 { cluster.join("s\(shard)", state: CoordinatorFixture.holding(1)) }
        #expect(cluster.task?.number == number)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.classVersion == 1)
        #expect(cluster.database.operations.map(\.afterStep) == [1])
    }

    @Test mutating func goingBackTakesClassesBackAndTheirChangesComeAgain() {
        cluster.start()
        cluster.commit()
        cluster.tell(.checkpoint)
        cluster.commit()
        _ = write()
        cluster.tell(.classes(.retire([3])))
        cluster.commit()
        cluster.acknowledge("s0", "s1")
        cluster.commit()
        #expect(cluster.machine.committed == 3)
        cluster.tell(.restore(checkpoint: nil, step: nil))
        #expect(cluster.machine.plan.classVersion == 0)
        #expect(cluster.machine.id == StepID(term: 2, step: 2, attempt: 0))
        cluster.acknowledge("s0", "s1")
        cluster.commit()
        #expect(cluster.task?.kind == .classes(.retire([3])), "after step 2, as before")
        #expect(cluster.machine.committed == 2)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.classVersion == 1)
    }
}
