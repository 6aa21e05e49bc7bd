internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of a shard that receives slices, one test each.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SliceReceiverTests {
    typealias Machine = SliceReceiver<String>

    private var machine = Machine(
        member: MemberID(.shard, 1), window: 3, retryInterval: .seconds(2), pollInterval: .seconds(1))
    private var now = Duration.zero
    private let move = SliceMove(slice: .centers(5), from: MemberID(.shard, 0), to: MemberID(.shard, 1))

    @discardableResult
    private mutating func tell(_ event: Machine.Event) -> [String] {
        machine.handle(event, at: now).map { action in
            switch action {
            case .ask(let owner, let request):
                "ask \(owner) \(request.slice) \(Self.words(request.part)) term \(request.term)"
            case .storeChunk(let slice, let index, let count, let step, let payload):
                "store \(slice) \(index)/\(count) at \(step) \(payload)"
            case .replay(let slice, _, let step, _, let payload): "replay \(slice) \(step) \(payload)"
            case .drop(let slice): "drop \(slice)"
            case .complete(let task): "complete \(task)"
            }
        }
    }

    private static func words(_ part: TransferRequest.Part) -> String {
        switch part {
        case .chunk(let index): "chunk \(index)"
        case .record(let after): "record after \(after)"
        }
    }

    private func plan(
        committed: Int, term: Int = 0, revision: Int? = nil, task: BoundaryTask? = nil, moves: [SliceMove]? = nil,
        mapVersion: Int = 1
    ) -> Machine.Event {
        .plan(
            .test(
                id: committed + 1, shards: 1, activity: task.map { .task($0) } ?? .train, term: term,
                revision: revision ?? committed, mapVersion: mapVersion, moves: moves ?? [move]))
    }

    private func reply(
        _ part: TransferRequest.Part, _ content: TransferReply<String>.Content, term: Int = 0,
        slice: SliceName = .centers(5)
    ) -> Machine.Event {
        .reply(
            to: TransferRequest(slice: slice, term: term, mapVersion: 1, part: part),
            TransferReply(slice: slice, part: part, content: content))
    }

    /// Copies two chunks, as of steps 3 and 4.
    private mutating func copy() {
        tell(plan(committed: 3))
        tell(reply(.chunk(0), .chunk(count: 2, step: 3, "a")))
        tell(.stored(.centers(5), .chunk(0)))
        tell(reply(.chunk(1), .chunk(count: 2, step: 4, "b")))
        #expect(tell(.stored(.centers(5), .chunk(1))) == ["ask shard-0 slice 5 record after 3 term 0"])
    }

    @Test mutating func nothingIsAskedAgainWhileTheAnswerComesIn() {
        tell(plan(committed: 3))
        for second in 1..<10 {
            now = .seconds(second)
            #expect(tell(.moving(MemberID(.shard, 0))) == [])
            #expect(tell(.tick) == [], "\(second) s")
        }
        #expect(tell(.moving(MemberID(.shard, 7))) == [])
        now = .seconds(11)
        #expect(tell(.tick) == ["ask shard-0 slice 5 chunk 0 term 0"])
    }

    @Test mutating func aCopyIsMadeOfChunksOfDifferentStepsAndTheRecordsAfterTheOldest() {
        #expect(tell(plan(committed: 3)) == ["ask shard-0 slice 5 chunk 0 term 0"])
        #expect(
            tell(reply(.chunk(0), .chunk(count: 3, step: 3, "a"))) == [
                "store slice 5 0/3 at 3 a", "ask shard-0 slice 5 chunk 1 term 0", "ask shard-0 slice 5 chunk 2 term 0",
            ], "what is being stored counts too: no more than three at a time")
        tell(reply(.chunk(2), .chunk(count: 3, step: 5, "c")))
        tell(reply(.chunk(1), .chunk(count: 3, step: 4, "b")))
        tell(.stored(.centers(5), .chunk(0)))
        tell(.stored(.centers(5), .chunk(2)))
        #expect(machine.received.isEmpty)
        #expect(tell(.stored(.centers(5), .chunk(1))) == ["ask shard-0 slice 5 record after 3 term 0"])
        #expect(tell(reply(.record(after: 3), .record(step: 4, header: "", "r4"))) == ["replay slice 5 4 r4"])
        #expect(tell(.stored(.centers(5), .record(after: 3))) == ["ask shard-0 slice 5 record after 4 term 0"])
        #expect(machine.received.isEmpty, "a chunk is as of step 5")
        tell(reply(.record(after: 4), .record(step: 5, header: "", "r5")))
        #expect(tell(.stored(.centers(5), .record(after: 4))) == [])
        #expect(machine.received == [.centers(5): 5])
        #expect(tell(plan(committed: 6)) == ["ask shard-0 slice 5 record after 5 term 0"])
        #expect(machine.inFlightCount == 1)
    }

    @Test mutating func anOwnerThatIsBehindThePlanIsAskedAgainSoon() {
        copy()
        tell(reply(.record(after: 3), .record(step: 4, header: "", "r4")))
        tell(.stored(.centers(5), .record(after: 3)))
        tell(plan(committed: 5))
        #expect(tell(reply(.record(after: 4), .upToDate(step: 4))) == [])
        #expect(machine.nextDeadline == .seconds(1))
        now = .seconds(1)
        #expect(tell(.tick) == ["ask shard-0 slice 5 record after 4 term 0"])
    }

    @Test mutating func whatIsNotAnsweredIsAskedAgain() {
        tell(plan(committed: 3))
        now = .seconds(2)
        #expect(tell(.tick) == ["ask shard-0 slice 5 chunk 0 term 0"])
        #expect(tell(.tick) == [])
        #expect(tell(reply(.chunk(0), .chunk(count: 1, step: 3, "a"))) == ["store slice 5 0/1 at 3 a"])
        #expect(tell(reply(.chunk(0), .chunk(count: 1, step: 4, "A"))) == [], "the second answer")
        #expect(machine.nextDeadline == nil)
    }

    @Test mutating func aLogThatDoesNotReachBackMakesTheCopyBeginAnew() {
        copy()
        #expect(tell(reply(.record(after: 3), .gone)) == ["drop slice 5"])
        now = .seconds(2)
        #expect(tell(.tick) == ["ask shard-0 slice 5 chunk 0 term 0"])
        #expect(tell(.failed(.centers(5), message: "the disk is full")) == ["drop slice 5"])
    }

    @Test mutating func chunksThatDoNotFitEachOtherMakeTheCopyBeginAnew() {
        tell(plan(committed: 3))
        tell(reply(.chunk(0), .chunk(count: 3, step: 3, "a")))
        #expect(tell(reply(.chunk(1), .chunk(count: 2, step: 3, "b"))) == ["drop slice 5"])
    }

    @Test mutating func aMoveThatIsCalledOffIsDropped() {
        copy()
        #expect(tell(plan(committed: 4, moves: [])) == ["drop slice 5"])
        #expect(machine.nextDeadline == nil)
    }

    @Test mutating func anotherTermBeginsAnew() {
        copy()
        #expect(
            tell(plan(committed: 4, term: 1)) == ["drop slice 5", "ask shard-0 slice 5 chunk 0 term 1"],
            "the cluster may have gone back")
        #expect(tell(reply(.chunk(0), .chunk(count: 1, step: 9, "a"))) == [], "of the term before")
        #expect(tell(plan(committed: 7)) == [], "of the term before")
    }

    @Test mutating func goingBackBeginsAnew() {
        copy()
        let restore = BoundaryTask(number: 7, step: 2, kind: .restore(checkpoint: nil))
        #expect(
            tell(plan(committed: 2, revision: 9, task: restore)) == [
                "drop slice 5", "ask shard-0 slice 5 chunk 0 term 0",
            ])
        #expect(tell(plan(committed: 2, revision: 9, task: restore)) == [])
    }

    @Test mutating func aHandOverIsCompleteAtItsStepAndSaidOnce() {
        copy()
        let task = BoundaryTask(number: 7, step: 4, kind: .handOver([move]))
        #expect(tell(plan(committed: 4, task: task)) == [])
        tell(reply(.record(after: 3), .record(step: 4, header: "", "r4")))
        #expect(tell(.stored(.centers(5), .record(after: 3))) == ["complete 7"])
        #expect(tell(plan(committed: 4, task: task)) == [])
        let waiting = Plan.test(id: 5, shards: 1, activity: .wait(reason: ""), term: 1, revision: 1, moves: [move])
        #expect(tell(.plan(waiting)) == [], "a coordinator that was restarted may go on with the task")
        #expect(tell(plan(committed: 4, term: 1, task: task)) == [])
        var owner = Plan.test(id: 5, shards: 2, term: 1, revision: 50, mapVersion: 2)
        owner.shards[1].slices = [5]
        #expect(tell(.plan(owner)) == [], "the copy is the shard's own now, and nothing is dropped")
        #expect(machine.received.isEmpty)
    }

    @Test mutating func whatWasHandedOverBeforeARestartIsNotCopiedAgain() {
        machine = Machine(member: MemberID(.shard, 1), completedTask: 7, handedOver: [.centers(5)])
        let task = BoundaryTask(number: 7, step: 4, kind: .handOver([move]))
        #expect(tell(plan(committed: 4, task: task)) == [])
        #expect(
            tell(plan(committed: 4, revision: 5)) == ["drop slice 5", "ask shard-0 slice 5 chunk 0 term 0"],
            "it was called off")
    }

    @Test mutating func anotherMapRepeatsWhatWasAskedUnderTheOldOne() {
        tell(plan(committed: 3))
        #expect(tell(plan(committed: 4, mapVersion: 2)) == ["ask shard-0 slice 5 chunk 0 term 0"])
    }

    @Test mutating func aLostConnectionMakesItAskAgain() {
        tell(plan(committed: 3))
        now = .seconds(1)
        #expect(tell(.unreachable(MemberID(.shard, 0))) == [])
        #expect(machine.nextDeadline == .seconds(3))
    }
}
