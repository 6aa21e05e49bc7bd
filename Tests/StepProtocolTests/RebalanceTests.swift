internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// Which slices move when shards come and go while others are on their way.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RebalanceTests {
    /// Slices 0 to 3 at the shards of these numbers.
    private func owners(_ shards: Int...) -> [SliceName: Int] {
        Dictionary(uniqueKeysWithValues: shards.enumerated().map { (.centers($0.offset), $0.element) })
    }

    private func move(_ slice: Int, _ from: Int, _ to: Int) -> SliceMove {
        SliceMove(slice: .centers(slice), from: MemberID(.shard, from), to: MemberID(.shard, to))
    }

    @Test func whatIsUnderWayGoesOn() {
        let moves = [move(3, 0, 1), move(2, 0, 1)]
        #expect(Rebalance.moves(after: moves, owners: owners(0, 0, 0, 0), shards: [0, 1]) == moves)
    }

    @Test func aMoveToAShardThatIsGoneIsPlannedAnew() {
        let moves = [move(3, 0, 1), move(2, 0, 2)]
        let planned = Rebalance.moves(after: moves, owners: owners(0, 0, 0, 0), shards: [0, 1])
        #expect(planned == [move(3, 0, 1), move(2, 0, 1)])
    }

    @Test func aSliceOnItsWayIsSentElsewhereFromItsOwner() {
        // Shard 1 was to get both; now shard 2 is there too, and one of them goes to it, from where it is.
        let moves = [move(2, 0, 1), move(3, 0, 1)]
        let planned = Rebalance.moves(after: moves, owners: owners(0, 0, 0, 0), shards: [0, 1, 2])
        #expect(planned == [move(2, 0, 1), move(3, 0, 2)])
    }

    @Test func aSliceThatIsToStayDoesNotMove() {
        // Shard 1 was to get it, and is leaving: its owner keeps it.
        let planned = Rebalance.moves(after: [move(3, 0, 1)], owners: owners(0, 0, 0, 0), shards: [0])
        #expect(planned.isEmpty)
    }

    @Test func whatHasArrivedElsewhereIsNotMovedAgain() {
        let planned = Rebalance.moves(after: [move(3, 0, 1)], owners: owners(0, 0, 1, 1), shards: [0, 1])
        #expect(planned.isEmpty)
    }
}
