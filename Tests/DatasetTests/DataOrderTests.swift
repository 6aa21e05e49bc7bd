import Dataset
import Determinism
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DataOrderTests {
    @Test(arguments: [1, 2, 3, 7, 64, 65, 1000, 4097])
    func everyEpochIsAPermutation(count: Int) {
        for epoch: UInt64 in 0..<3 {
            let permutation = IndexPermutation(count: count, seed: 3, purpose: .dataOrder, word: epoch)
            #expect(Set((0..<count).map { permutation[$0] }) == Set(0..<count))
        }
    }

    @Test func permutationsLookUniform() {
        // Where the first element of 10 goes, over 20,000 keys: chi-squared with 9 degrees of freedom, 27.9 at p = 0.001.
        var counts = [Int](repeating: 0, count: 10)
        for word: UInt64 in 0..<20_000 {
            counts[IndexPermutation(count: 10, seed: 1, purpose: .dataOrder, word: word)[0]] += 1
        }
        let chi = counts.reduce(0.0) { $0 + (Double($1) - 2000) * (Double($1) - 2000) / 2000 }
        #expect(chi < 27.9)
    }

    @Test func droppingUsesEachSampleOncePerEpoch() throws {
        let order = try DataOrder(seed: 9, sampleCount: 103, batchSize: 10)
        #expect(order.stepsPerEpoch == 10)
        var first: [Int] = []
        for epoch in 0..<3 {
            let seen = (0..<10).flatMap { order.indices(step: epoch * 10 + $0) }
            #expect(Set(seen).count == 100 && seen.allSatisfy { (0..<103).contains($0) })
            #expect(order.epoch(of: epoch * 10 + 9) == epoch)
            if epoch == 0 { first = seen } else { #expect(seen != first) }
        }
    }

    @Test func carryingUsesEverySampleOncePerEpoch() throws {
        let order = try DataOrder(seed: 9, sampleCount: 7, batchSize: 10, remainder: .carry)
        let stream = (0..<7).flatMap { order.indices(step: $0) }
        for epoch in 0..<10 { #expect(Set(stream[epoch * 7..<(epoch + 1) * 7]) == Set(0..<7)) }
    }

    @Test func aStepIsAFunctionOfItsNumber() throws {
        let order = try DataOrder(seed: 1, sampleCount: 5000, batchSize: 64)
        let again = try DataOrder(seed: 1, sampleCount: 5000, batchSize: 64)
        for step in [900, 3, 77, 0, 78] {
            let whole = order.indices(step: step)
            #expect(again.indices(step: step) == whole)
            // Cut among any number of workers, it is the same batch.
            for world in [1, 2, 3, 5] {
                let parts = ReductionTree(leafCount: 64).evenRanges(world)
                #expect(parts.flatMap { again.indices(step: step, positions: $0) } == whole)
            }
        }
        #expect(try DataOrder(seed: 2, sampleCount: 5000, batchSize: 64).indices(step: 0) != order.indices(step: 0))
    }

    @Test func samplesThatTakeNoPartAreReplacedByTheNextThatDoes() throws {
        var order = try DataOrder(seed: 4, sampleCount: 23, batchSize: 10, remainder: .carry)
        let all = (0..<23).flatMap { order.indices(step: $0) }
        order.takesPart = { $0 % 3 != 0 }
        let some = (0..<23).flatMap { order.indices(step: $0) }
        #expect(some != all && some.allSatisfy { $0 % 3 != 0 })
        for (position, (planned, used)) in zip(all, some).enumerated() {
            let epoch = position / 23 * 23
            let candidates = (0..<23).map { all[epoch + (position - epoch + $0) % 23] }
            #expect(used == candidates.first { $0 % 3 != 0 })
            if planned % 3 != 0 { #expect(used == planned) }
        }
        order.takesPart = { _ in true }
        #expect((0..<23).flatMap { order.indices(step: $0) } == all)
        // With nobody left the order stands: whoever uses it must not let that happen.
        order.takesPart = { _ in false }
        #expect((0..<23).flatMap { order.indices(step: $0) } == all)
    }

    @Test func impossibleOrdersAreRefused() {
        #expect(throws: DatasetError.self) { try DataOrder(seed: 1, sampleCount: 0, batchSize: 1) }
        #expect(throws: DatasetError.self) { try DataOrder(seed: 1, sampleCount: 5, batchSize: 0) }
        #expect(throws: DatasetError.self) { try DataOrder(seed: 1, sampleCount: 5, batchSize: 6) }
    }
}
