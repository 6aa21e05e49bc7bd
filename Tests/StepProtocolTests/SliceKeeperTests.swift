internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// The rules of a shard that keeps second copies, one test each.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SliceKeeperTests {
    typealias Machine = SliceKeeper<String>

    private var machine = Machine(member: MemberID(.shard, 1), window: 2, retryInterval: .seconds(2))
    private var now = Duration.zero

    @discardableResult
    private mutating func tell(_ event: Machine.Event) -> [String] {
        machine.handle(event, at: now).map { action in
            switch action {
            case .ask(let owner, let request): "ask \(owner) \(request.slice) \(request.part) term \(request.term)"
            case .storeChunk(let slice, let index, let count, let step, let payload):
                "store \(slice) \(index)/\(count) at \(step) \(payload)"
            case .discard(let slice): "discard \(slice)"
            case .install(let slice): "install \(slice)"
            case .drop(let slice): "drop \(slice)"
            }
        }
    }

    private func plan(
        committed: Int, safe: Int = -1, term: Int = 0, kept: SliceSet = [0], classes: Int = 0, map: Int = 1,
        task: BoundaryTask? = nil
    ) -> Machine.Event {
        var plan = Plan.test(
            id: committed + 1, shards: 2, activity: task.map { .task($0) } ?? .train, term: term,
            revision: 10 * committed + map, mapVersion: map)
        plan.shards[0].slices = SliceSet(0..<10)
        plan.shards[1].slices = []
        plan.shards[1].kept = kept
        (plan.safe, plan.classVersion) = (safe, classes)
        return .plan(plan)
    }

    private func chunk(_ index: Int, _ step: Int, slice: Int = 0, term: Int = 0) -> Machine.Event {
        .reply(
            to: TransferRequest(slice: .centers(slice), term: term, mapVersion: 1, part: .chunk(index)),
            TransferReply(
                slice: .centers(slice), part: .chunk(index), content: .chunk(count: 2, step: step, "c\(index)")))
    }

    /// Both pieces of slice 0 are stored, as of steps 3 and 5.
    private mutating func copy() {
        tell(plan(committed: 3))
        tell(chunk(0, 3))
        tell(.stored(.centers(0), index: 0))
        tell(plan(committed: 5))
        tell(chunk(1, 5))
    }

    @Test mutating func aCopyCountsOnceNobodyGoesBackBehindIt() {
        #expect(tell(plan(committed: 3)) == ["ask shard-0 slice 0 chunk(0) term 0"])
        #expect(tell(chunk(0, 3)) == ["store slice 0 0/2 at 3 c0", "ask shard-0 slice 0 chunk(1) term 0"])
        tell(.stored(.centers(0), index: 0))
        tell(chunk(1, 5))
        #expect(tell(.stored(.centers(0), index: 1)) == [])
        #expect(tell(plan(committed: 6, safe: 4)) == [])
        #expect(tell(plan(committed: 7, safe: 5)) == ["install slice 0"])
        #expect(machine.reported == [:])
        tell(.installed(.centers(0)))
        #expect(machine.reported == [.centers(0): 3])
    }

    @Test mutating func whatMayBeOfALostPastIsGivenUp() {
        copy()
        tell(.stored(.centers(0), index: 1))
        #expect(tell(plan(committed: 5, term: 1))[0] == "discard slice 0")
    }

    @Test mutating func otherClassesMakeACopyWorthless() {
        copy()
        tell(.stored(.centers(0), index: 1))
        tell(plan(committed: 6, safe: 6))
        tell(.installed(.centers(0)))
        #expect(tell(plan(committed: 7, safe: 7, classes: 1))[0] == "drop slice 0")
        #expect(machine.reported == [:])
    }

    @Test mutating func newerSnapshotsOfItsOwnHaveCopiesMadeAnew() {
        copy()
        tell(.stored(.centers(0), index: 1))
        tell(plan(committed: 6, safe: 6))
        tell(.installed(.centers(0)))
        #expect(tell(.snapshots(oldest: 3)) == [])
        #expect(tell(.snapshots(oldest: 4)) == ["ask shard-0 slice 0 chunk(0) term 0"])
        #expect(machine.reported == [.centers(0): 3], "the old one counts until the new one does")
    }

    @Test mutating func oneSliceAtATime() {
        tell(plan(committed: 3, kept: [0, 1]))
        #expect(tell(chunk(0, 3, slice: 1)) == [])
        #expect(machine.inFlightCount == 1)
        tell(.failed(.centers(0)))
        #expect(machine.inFlightCount == 0, "it waits before it begins anew")
        now = .seconds(2)
        #expect(tell(.tick) == ["ask shard-0 slice 0 chunk(0) term 0"])
    }

    @Test mutating func theNextSliceIsCopiedWhileACompleteCopyWaits() {
        tell(plan(committed: 3, kept: [0, 1]))
        tell(chunk(0, 3))
        tell(.stored(.centers(0), index: 0))
        tell(chunk(1, 5))
        #expect(tell(.stored(.centers(0), index: 1)) == ["ask shard-0 slice 1 chunk(0) term 0"])
        tell(chunk(0, 6, slice: 1))
        tell(.stored(.centers(1), index: 0))
        tell(chunk(1, 6, slice: 1))
        #expect(tell(.stored(.centers(1), index: 1)) == [])
        #expect(tell(plan(committed: 6, safe: 5, kept: [0, 1])) == ["install slice 0"])
        tell(.installed(.centers(0)))
        #expect(tell(plan(committed: 7, safe: 6, kept: [0, 1])) == ["install slice 1"])
        #expect(tell(.failed(.centers(1))) == ["discard slice 1"])
        #expect(machine.reported == [.centers(0): 3])
    }

    @Test mutating func onlySoManyCopiesWait() {
        let slices = SliceSet(0..<10)
        tell(plan(committed: 3, kept: slices))
        for slice in 0..<9 {
            for index in 0..<2 {
                tell(chunk(index, 5, slice: slice))
                tell(.stored(.centers(slice), index: index))
            }
        }
        #expect(machine.inFlightCount == 0, "eight copies wait")
        #expect(tell(plan(committed: 6, safe: 5, kept: slices)).count { $0.hasPrefix("install") } == 8)
        #expect(tell(.installed(.centers(0))) == ["ask shard-0 slice 8 chunk(0) term 0"])
        // Nothing of it outlives a new term.
        #expect(tell(plan(committed: 6, term: 1, kept: slices)).count { $0.hasPrefix("discard") } == 8)
    }

    @Test mutating func anAnswerThatIsLostIsAskedForAgain() {
        tell(plan(committed: 3))
        now = .seconds(2)
        #expect(tell(.tick) == ["ask shard-0 slice 0 chunk(0) term 0"])
        #expect(tell(.moving(MemberID(.shard, 0))) == [])
        now = .seconds(3)
        #expect(tell(.tick) == [])
    }

    @Test mutating func whatTheMapGivesItStaysUntilItIsTakenOver() {
        copy()
        tell(.stored(.centers(0), index: 1))
        tell(plan(committed: 6, safe: 6))
        tell(.installed(.centers(0)))
        var promoted = Plan.test(id: 8, shards: 1, revision: 90, mapVersion: 2)
        promoted.shards = [
            .init(shard: machine.member, endpoint: "e1", slices: SliceSet(0..<8), denseSlices: SliceSet(0..<4))
        ]
        #expect(tell(.plan(promoted)) == [])
        #expect(machine.reported == [.centers(0): 3])
        tell(.holds(owned: [.centers(0)], copies: []))
        #expect(machine.reported == [:])
    }

    @Test mutating func aCopyThatWasFoundDamagedIsMadeAnew() {
        copy()
        tell(.stored(.centers(0), index: 1))
        tell(plan(committed: 6, safe: 6))
        tell(.installed(.centers(0)))
        #expect(tell(.holds(owned: [], copies: [.centers(0)])) == [])
        #expect(tell(.holds(owned: [], copies: [])) == ["ask shard-0 slice 0 chunk(0) term 0"])
    }

    @Test mutating func aCheckpointThatIsLoadedLeavesNoCopies() {
        copy()
        tell(.stored(.centers(0), index: 1))
        tell(plan(committed: 6, safe: 6))
        tell(.installed(.centers(0)))
        tell(plan(committed: 6, term: 1, task: BoundaryTask(number: 4, step: 6, kind: .restore(checkpoint: "/c"))))
        #expect(machine.reported == [:])
    }
}
