import Cluster
import StepProtocol
import TestSupport
import Testing

/// Who keeps second copies.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RebalanceKeepersTests {
    private let owners: [SliceName: Int] = Dictionary(
        uniqueKeysWithValues: (0..<9).map { (.centers($0), $0 / 3) } + [(.dense(0), 0), (.dense(1), 1), (.dense(2), 2)])

    @Test func everySliceHasAKeeperThatIsNotItsOwner() {
        let keepers = Rebalance.keepers(current: [:], owners: owners, candidates: [0: "a", 1: "a", 2: "a"])
        #expect(keepers.count == 12)
        #expect(keepers.allSatisfy { owners[$0.key] != $0.value })
        for shard in 0..<3 {
            let count = keepers.count { !$0.key.isDense && $0.value == shard }
            #expect((2...4).contains(count), "shard-\(shard) keeps \(count) of 9")
        }
    }

    @Test func anotherHostIsPreferred() {
        let keepers = Rebalance.keepers(current: [:], owners: owners, candidates: [0: "a", 1: "a", 2: "b"])
        for (slice, keeper) in keepers where owners[slice] != 2 { #expect(keeper == 2, "\(slice) is on host a") }
    }

    @Test func keepersStayWhoTheyAre() {
        let before = Rebalance.keepers(current: [:], owners: owners, candidates: [0: "a", 1: "a", 2: "a"])
        var moved = owners
        moved[.centers(0)] = 3
        let after = Rebalance.keepers(current: before, owners: moved, candidates: [0: "a", 1: "a", 2: "a", 3: "a"])
        #expect(after.filter { before[$0.key] != $0.value }.count <= 1, "\(before) \(after)")
        #expect(after.allSatisfy { moved[$0.key] != $0.value })
    }

    @Test func oneShardKeepsNothing() {
        #expect(Rebalance.keepers(current: [.centers(0): 1], owners: owners, candidates: [0: "a"]).isEmpty)
    }
}
