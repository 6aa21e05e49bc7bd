internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// What a shard does at step boundaries: tasks, slice maps, restarts, and giving slices away.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ShardMachineBoundaryTests {
    typealias Machine = ShardMachine<String, String>

    private var machine = Machine(member: MemberID(.shard, 0), microBatchCount: 4, transfersPerStep: 2, empty: "")

    @discardableResult
    private mutating func tell(_ event: Machine.Event) -> [String] {
        machine.handle(event, at: .zero).filter { if case .prepared = $0 { false } else { true } }.map { action in
            switch action {
            case .report: "report"
            case .prepared, .askForPlan: "ask"
            case .reply(let peer, let reply):
                switch reply.outcome {
                case .done: "\(peer) < \(reply.phase) done"
                case .stale: "\(peer) < \(reply.phase) stale"
                case .notReady: "\(peer) < \(reply.phase) notReady"
                case .received, .missing, .answered: "\(peer) < \(reply.phase) \(reply.outcome)"
                case .refused(let code, _): "\(peer) < \(reply.phase) refused \(code)"
                }
            case .compute(_, .own(let slices, let denseSlices, let version)):
                "own \(slices) / \(denseSlices) map \(version)"
            case .compute(_, .task(let task)): "task \(task.number)"
            case .compute(let id, .commit): "commit \(id.step).\(id.attempt)"
            case .compute(let id, .rollback): "rollback \(id.step).\(id.attempt)"
            case .compute(_, .sample): "sample"
            case .compute: "compute"
            case .transfer(let peer, let request): "\(peer) < \(request.part)"
            case .acknowledge(let number, let outcome): "acknowledge \(number) \(outcome)"
            }
        }
    }

    private func request(
        _ phase: StepPhase, step: Int, attempt: Int = 0, term: Int = 0, mapVersion: Int = 1
    ) -> Machine.Event {
        .request(
            "w",
            StepRequest(
                id: StepID(term: term, step: step, attempt: attempt), rank: 0, worldSize: 1, mapVersion: mapVersion,
                phase: phase, committed: step - 1, exchange: .features, learningRate: 0.5, microBatches: 0..<4,
                payload: "")
        )
    }

    /// Lets the shard prepare `step`.
    private mutating func prepare(_ step: Int, term: Int = 0, mapVersion: Int = 1) {
        let id = StepID(term: term, step: step, attempt: 0)
        tell(request(.begin, step: step, term: term, mapVersion: mapVersion))
        tell(.computed(id, .sample("")))
        tell(request(.forward, step: step, term: term, mapVersion: mapVersion))
        tell(.computed(id, .forward(rank: 0, "")))
        tell(request(.backward, step: step, term: term, mapVersion: mapVersion))
        tell(.computed(id, .backward))
        tell(request(.dense, step: step, term: term, mapVersion: mapVersion))
        tell(.computed(id, .dense("")))
        tell(request(.update, step: step, term: term, mapVersion: mapVersion))
        tell(.computed(id, .update("")))
        #expect(machine.prepared == id)
    }

    private func plan(
        _ id: Int, committed: Int? = nil, task: BoundaryTask? = nil, term: Int = 0, revision: Int, mapVersion: Int = 1,
        shards: Int = 1, moves: [SliceMove] = []
    ) -> Machine.Event {
        .plan(
            .test(
                id: id, shards: shards, activity: task.map { .task($0) } ?? .train, term: term, revision: revision,
                mapVersion: mapVersion, committed: committed, moves: moves))
    }

    private let done = "done(detail: \"\")"
    private static let everything = ShardHoldings(slices: SliceSet(0..<8), denseSlices: SliceSet(0..<4))

    /// A promotion has a higher number than the hand-over that it interrupts.
    @Test mutating func aTaskGoesOnAfterAPromotion() {
        machine = Machine(member: MemberID(.shard, 5), microBatchCount: 4, transfersPerStep: 2, empty: "")
        let move = SliceMove(slice: .centers(0), from: MemberID(.shard, 0), to: MemberID(.shard, 5))
        let handOver = BoundaryTask(number: 2, step: -1, kind: .handOver([move]))
        let promotion = BoundaryTask(number: 3, step: -1, kind: .promote([]))
        tell(plan(0, committed: -1, task: handOver, revision: 1, moves: [move]))
        #expect(
            tell(plan(0, committed: -1, task: promotion, revision: 2, moves: [move])).contains("acknowledge 3 \(done)"))
        #expect(tell(plan(0, committed: -1, task: handOver, revision: 3, moves: [move])).isEmpty)
        #expect(tell(.copiesComplete(task: 2)) == ["task 2"])
    }

    @Test mutating func aMapIsAdoptedOnceWithTheSlicesOfTheShard() {
        #expect(tell(plan(0, revision: 1)) == ["own 0–7 / 0–3 map 1"])
        #expect(tell(plan(0, revision: 2)) == [])
        prepare(0)
        #expect(
            tell(plan(1, revision: 3, mapVersion: 2, shards: 2)) == ["commit 0.0", "own 0–3 / 0–1 map 2"],
            "the step before comes first")
        #expect(tell(plan(0, revision: 2)) == [], "an older plan")
        #expect(tell(request(.begin, step: 1, mapVersion: 1)) == ["w < begin refused mapVersion"])
        #expect(tell(request(.begin, step: 1, mapVersion: 2)) == ["sample"])
    }

    @Test mutating func aShardThatLostItsStateTakesNoSlices() {
        #expect(tell(plan(5, revision: 1)) == [])
        #expect(tell(request(.begin, step: 5)) == ["w < begin notReady"])
        let restore = BoundaryTask(number: 1, step: 3, kind: .restore(checkpoint: "c"))
        #expect(
            tell(plan(4, committed: 3, task: restore, term: 1, revision: 2)) == ["task 1"],
            "slices and what is in them come with the task")
        #expect(tell(.taskDone(number: 1, .failed(message: "no file"))).count == 1)
        #expect(machine.mapVersion == nil, "nothing is owned that is not there")
        #expect(tell(plan(4, committed: 3, task: restore, term: 1, revision: 3)) == ["task 1"], "tried again, whole")
        #expect(tell(.taskDone(number: 1, .done(detail: ""))) == ["acknowledge 1 \(done)"])
        #expect(machine.committed == 3)
        #expect(machine.mapVersion == 1)
        #expect(tell(plan(4, term: 1, revision: 4)) == [])
        #expect(tell(request(.begin, step: 4, term: 1)) == ["sample"])
    }

    @Test mutating func aShardThatLostItsStateDoesNotGoBackByItsLog() {
        // It was announced before the coordinator knew what this shard came with.
        let log = BoundaryTask(number: 2, step: 0, kind: .restore(checkpoint: nil))
        #expect(tell(plan(1, task: log, term: 1, revision: 1)) == [])
        #expect(machine.mapVersion == nil)
        #expect(tell(plan(1, term: 1, revision: 2)) == [], "nor is the step that it did not go back to its own")
        let beginning = BoundaryTask(number: 3, step: -1, kind: .restore(checkpoint: ""))
        #expect(tell(plan(0, task: beginning, term: 2, revision: 1)) == ["task 3"])
        #expect(tell(.taskDone(number: 3, .done(detail: ""))) == ["acknowledge 3 \(done)"])
        #expect(tell(request(.begin, step: 0, term: 2)) == ["w < begin notReady", "ask"])
        #expect(tell(plan(0, term: 2, revision: 2)) == [])
        #expect(tell(request(.begin, step: 0, term: 2)) == ["sample"])
    }

    @Test mutating func aShardWithItsSlicesGoesBackByItsLog() {
        machine = Machine(
            member: MemberID(.shard, 0), microBatchCount: 4, committed: 5, holdings: Self.everything, empty: "")
        let log = BoundaryTask(number: 2, step: 3, kind: .restore(checkpoint: nil))
        #expect(tell(plan(4, task: log, term: 1, revision: 1)) == ["own 0–7 / 0–3 map 1", "task 2"])
    }

    @Test mutating func aShardTakesNothingOfWhichItHasNoCopyWhileACheckpointIsLoaded() {
        machine = Machine(member: MemberID(.shard, 1), microBatchCount: 4, empty: "")
        #expect(tell(plan(6, revision: 1)) == ["own – / – map 1"])
        #expect(machine.committed == 5)
        // Another shard was given up. Its slices are to come from the checkpoint of this very step, which cannot be read for a moment.
        let wait = Plan.Activity.wait(reason: "tried again in a moment")
        #expect(
            tell(.plan(.test(id: 6, shards: 2, activity: wait, term: 1, revision: 1, mapVersion: 2))) == [],
            "what is in them comes with the task")
        let load = BoundaryTask(number: 1, step: 5, kind: .restore(checkpoint: "c"))
        #expect(tell(plan(6, task: load, term: 1, revision: 2, mapVersion: 2, shards: 2)) == ["task 1"])
        #expect(tell(.taskDone(number: 1, .done(detail: ""))) == ["acknowledge 1 \(done)"])
        #expect(machine.mapVersion == 2)
        #expect(tell(plan(6, term: 1, revision: 3, mapVersion: 3, shards: 2)) == ["own 4–7 / 2–3 map 3"])
    }

    @Test mutating func copiesThatWereHandedOverStayWhileAnOlderMapIsFollowed() {
        let copies = ShardHoldings(received: SliceSet(4..<8), receivedDense: SliceSet(2..<4))
        machine = Machine(
            member: MemberID(.shard, 1), microBatchCount: 4, committed: 5, lastTask: 3, holdings: copies, empty: "")
        #expect(tell(plan(6, revision: 1)) == ["own – / – map 1"])
        #expect(tell(plan(6, revision: 2, mapVersion: 2, shards: 2)) == ["own 4–7 / 2–3 map 2"])
        #expect(tell(plan(6, revision: 3, mapVersion: 3)) == ["own – / – map 3"])
        #expect(tell(plan(6, revision: 4, mapVersion: 4, shards: 2)) == [], "they are gone")
    }

    @Test mutating func aNumberThatComesAgainWithAnotherTaskIsNotTakenForDone() {
        tell(plan(0, revision: 1))
        let first = BoundaryTask(number: 3, step: -1, kind: .checkpoint(directory: "a"))
        #expect(tell(plan(0, task: first, revision: 2)) == ["task 3"])
        #expect(tell(.taskDone(number: 3, .done(detail: "files of a"))).count == 1)
        #expect(tell(plan(0, task: first, revision: 3)) == ["acknowledge 3 \(TaskOutcome.done(detail: "files of a"))"])
        // The coordinator's database was put back: it counts again from there.
        let second = BoundaryTask(number: 3, step: -1, kind: .checkpoint(directory: "b"))
        #expect(tell(plan(0, task: second, term: 1, revision: 1)) == ["task 3"])
    }

    @Test mutating func aShardWithoutSlicesFollowsTheCommittedStep() {
        machine = Machine(member: MemberID(.shard, 7), microBatchCount: 4, empty: "")
        #expect(tell(plan(5, revision: 1)) == ["own – / – map 1"])
        #expect(machine.committed == 4)
        #expect(tell(request(.begin, step: 5)) == ["w < begin notReady"])
        let checkpoint = BoundaryTask(number: 3, step: 5, kind: .checkpoint(directory: "c"))
        #expect(tell(plan(6, task: checkpoint, revision: 2)) == ["acknowledge 3 \(done)"], "there is nothing to do")
    }

    @Test mutating func aTaskIsExecutedOnceAndAcknowledgedAsOftenAsItIsAskedFor() {
        tell(plan(0, revision: 1))
        prepare(0)
        let task = BoundaryTask(number: 4, step: 0, kind: .checkpoint(directory: "c"))
        #expect(tell(plan(1, task: task, revision: 2)) == ["commit 0.0", "task 4"])
        #expect(tell(plan(1, task: task, revision: 2)) == [], "it is being executed")
        #expect(tell(request(.begin, step: 1)) == ["w < begin notReady"])
        #expect(tell(.taskDone(number: 4, .done(detail: "files"))) == ["acknowledge 4 done(detail: \"files\")"])
        #expect(tell(plan(1, task: task, revision: 2)) == ["acknowledge 4 done(detail: \"files\")"])
        #expect(tell(.taskDone(number: 4, .done(detail: "files"))) == [])
        #expect(tell(plan(1, revision: 3)) == [])
        #expect(tell(request(.begin, step: 1)) == ["sample"])
    }

    @Test mutating func aTaskThatFailedIsTriedAgainWithTheNextPlanThatAsksForIt() {
        tell(plan(0, revision: 1))
        let task = BoundaryTask(number: 1, step: -1, kind: .checkpoint(directory: "c"))
        tell(plan(0, task: task, revision: 2))
        let failed = TaskOutcome.failed(message: "the disk is full")
        #expect(tell(.taskDone(number: 1, failed)) == ["acknowledge 1 \(failed)"])
        #expect(tell(plan(0, task: task, revision: 2)) == ["task 1"])
    }

    @Test mutating func aPlanThatComesWhileATaskIsExecutedIsFollowedAfterIt() {
        tell(plan(0, revision: 1))
        let task = BoundaryTask(number: 1, step: -1, kind: .checkpoint(directory: "c"))
        tell(plan(0, task: task, revision: 2))
        #expect(tell(plan(0, revision: 3, mapVersion: 2, shards: 2)) == [])
        #expect(
            tell(.taskDone(number: 1, .done(detail: ""))) == ["acknowledge 1 \(done)", "own 0–3 / 0–1 map 2"])
    }

    @Test mutating func aSkippedStepIsCommittedWhenItIsLogged() {
        tell(plan(0, revision: 1))
        prepare(0)
        let skip = BoundaryTask(number: 1, step: 0, kind: .skip)
        #expect(tell(plan(0, committed: -1, task: skip, revision: 2)) == ["rollback 0.0", "task 1"])
        tell(.taskDone(number: 1, .done(detail: "")))
        #expect(machine.committed == 0)
        #expect(tell(plan(0, committed: -1, task: skip, revision: 2)) == ["acknowledge 1 \(done)"])
        #expect(tell(plan(1, revision: 3)) == [])
        #expect(tell(request(.begin, step: 1)) == ["sample"])
    }

    @Test mutating func goingBackMakesTheOldTermStale() {
        tell(plan(0, revision: 1))
        for step in 0..<3 {
            tell(plan(step, revision: 1 + step))
            prepare(step)
        }
        #expect(machine.committed == 1)
        let restore = BoundaryTask(number: 1, step: 0, kind: .restore(checkpoint: nil))
        #expect(tell(plan(1, committed: 0, task: restore, term: 1, revision: 4)) == ["rollback 2.0", "task 1"])
        tell(.taskDone(number: 1, .done(detail: "")))
        #expect(machine.committed == 0)
        #expect(tell(request(.begin, step: 1)) == ["w < begin stale"], "of the term before")
        #expect(tell(plan(9, term: 0, revision: 99)) == [], "of the term before")
        #expect(tell(request(.begin, step: 1, term: 2)) == ["w < begin notReady", "ask"], "of a term not heard of")
        tell(plan(1, term: 1, revision: 5))
        #expect(tell(request(.begin, step: 1, term: 1)) == ["sample"])
    }

    @Test(arguments: [true, false])
    mutating func theLastStepInTheLogIsCommittedOrUndone(_ isCommitted: Bool) {
        let logged = StepID(term: 0, step: 3, attempt: 1)
        machine = Machine(
            member: MemberID(.shard, 0), microBatchCount: 4, committed: 2, prepared: logged, holdings: Self.everything,
            empty: "")
        #expect(machine.prepared == logged)
        #expect(tell(request(.update, step: 3, attempt: 1)) == ["w < update notReady", "ask"])
        if isCommitted {
            #expect(tell(plan(4, term: 1, revision: 0)) == ["commit 3.1", "own 0–7 / 0–3 map 1"])
            #expect(machine.committed == 3)
        } else {
            #expect(tell(plan(3, term: 1, revision: 0)) == ["rollback 3.1", "own 0–7 / 0–3 map 1"])
            #expect(machine.committed == 2)
            #expect(tell(request(.begin, step: 3, attempt: 1)) == ["w < begin stale"])
            #expect(tell(request(.begin, step: 3, term: 1)) == ["sample"])
        }
        #expect(machine.prepared == nil)
    }

    // MARK: Giving slices away

    private let move = SliceMove(slice: .centers(5), from: MemberID(.shard, 0), to: MemberID(.shard, 1))

    private func asks(_ part: TransferRequest.Part, slice: Int = 5, term: Int = 0, mapVersion: Int = 1) -> Machine.Event
    {
        .transfer("s\(part)", TransferRequest(slice: .centers(slice), term: term, mapVersion: mapVersion, part: part))
    }

    @Test mutating func chunksWaitWhileAnUpdateMayStillBeUndone() {
        tell(plan(0, revision: 1, moves: [move]))
        #expect(tell(asks(.chunk(0))) == ["schunk(0) < chunk(0)"])
        prepare(0)
        #expect(tell(asks(.chunk(1))) == [])
        #expect(tell(asks(.record(after: -1))) == ["srecord(after: -1) < record(after: -1)"])
        #expect(tell(plan(1, revision: 2, moves: [move])) == ["commit 0.0", "schunk(1) < chunk(1)"])
        #expect(tell(asks(.chunk(2), slice: 6)) == [], "not on its way")
        #expect(tell(asks(.chunk(2), term: 1)) == [])
        #expect(tell(asks(.chunk(2), mapVersion: 2)) == [])
        #expect(machine.heldTransferCount == 0)
    }

    @Test mutating func aStepGivesABoundedNumberOfChunks() {
        tell(plan(0, revision: 1, moves: [move]))
        for chunk in 0..<2 { #expect(tell(asks(.chunk(chunk))).count == 1) }
        for chunk in 2..<60 { #expect(tell(asks(.chunk(chunk))) == []) }
        #expect(machine.heldTransferCount == 32)
        prepare(0)
        #expect(
            tell(plan(1, revision: 2, moves: [move])) == [
                "commit 0.0", "schunk(28) < chunk(28)", "schunk(29) < chunk(29)",
            ],
            "the newest 32 are held")
        let waiting = Plan.test(id: 1, shards: 1, activity: .wait(reason: ""), revision: 3, moves: [move])
        #expect(tell(.plan(waiting)).count == 30, "nobody trains")
    }

    @Test mutating func aReceiverExecutesTheHandOverWhenItsCopiesAreComplete() {
        machine = Machine(member: MemberID(.shard, 1), microBatchCount: 4, empty: "")
        let task = BoundaryTask(number: 2, step: 4, kind: .handOver([move]))
        #expect(tell(plan(5, task: task, revision: 1, moves: [move])) == ["own – / – map 1"])
        #expect(tell(.copiesComplete(task: 1)) == [])
        #expect(tell(.copiesComplete(task: 2)) == ["task 2"])
        #expect(tell(.taskDone(number: 2, .done(detail: ""))) == ["acknowledge 2 \(done)"])
    }
}
