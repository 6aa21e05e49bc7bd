import Determinism
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ReductionTreeTests {
    /// A merge that shows the order and shape of the combination.
    private func bracket(_ a: String, _ b: String) -> String { "(\(a)\(b))" }

    @Test func ownersOfAnyRangesFinishTheSameTree() {
        for leafCount in 1...17 {
            let tree = ReductionTree(leafCount: leafCount)
            let leaves = Dictionary(
                uniqueKeysWithValues: (0..<leafCount).map { (ReductionTree.Node(level: 0, index: $0), "\($0),") })
            let whole = tree.combine(leaves, at: tree.root, with: { bracket($1, $2) })
            for owners in 1...leafCount + 2 {
                var parts: [ReductionTree.Node: String] = [:]
                for range in tree.evenRanges(owners) {
                    for node in tree.subtrees(of: range) {
                        parts[node] = tree.combine(leaves, at: node, with: { bracket($1, $2) })
                    }
                }
                #expect(
                    tree.combine(parts, at: tree.root, with: { bracket($1, $2) }) == whole,
                    "\(leafCount) leaves, \(owners) owners")
            }
        }
    }

    @Test func alignedPowersOfTwoNeedOneSubtree() {
        let tree = ReductionTree(leafCount: 16)
        for owners in [1, 2, 4, 8, 16] {
            for range in tree.evenRanges(owners) { #expect(tree.subtrees(of: range).count == 1) }
        }
        #expect(tree.subtrees(of: 3..<3).isEmpty)
        #expect(tree.subtrees(of: 5..<11).map { tree.leaves(of: $0) } == [5..<6, 6..<8, 8..<10, 10..<11])
    }

    @Test func aMissingLeafGivesNothing() {
        let tree = ReductionTree(leafCount: 4)
        #expect(tree.combine([.init(level: 1, index: 0): "x"], at: tree.root, with: { bracket($1, $2) }) == nil)
        #expect(!tree.contains(.init(level: 0, index: 4)))
        #expect(!tree.contains(.init(level: 3, index: 0)))
        #expect(!tree.contains(.init(level: -1, index: 0)))
    }
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct KeyedRandomTests {
    @Test func keysSeparateStreams() {
        func first(_ purpose: RandomPurpose, _ a: UInt64, _ b: UInt64) -> UInt64 {
            var random = KeyedRandom(seed: 1, purpose: purpose, a, b)
            return random.next()
        }
        var seen: Set<UInt64> = []
        for a in 0..<40 as Range<UInt64> {
            for b in 0..<40 as Range<UInt64> {
                seen.insert(first(.negativeSampling, a, b))
                seen.insert(first(.dataOrder, a, b))
            }
        }
        #expect(seen.count == 2 * 40 * 40)
    }

    /// The number was computed with a separate program from the definition.
    @Test func valuesAreAPartOfTheFormat() {
        var random = KeyedRandom(seed: 42, purpose: .test, 1, 2)
        #expect(random.next() == 4_081_955_845_504_573_758, "\(String(random.next(), radix: 16))")
    }

    @Test func belowIsUniform() {
        var counts = [Int](repeating: 0, count: 7)
        var random = KeyedRandom(seed: 3, purpose: .test)
        for _ in 0..<70_000 { counts[Int(random.below(7))] += 1 }
        // Chi-square with 6 degrees of freedom exceeds 35 once in 250,000 keys; the key is fixed.
        let chiSquare = counts.reduce(0.0) { $0 + (Double($1) - 10_000) * (Double($1) - 10_000) / 10_000 }
        #expect(chiSquare < 35)
    }
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ParallelBlocksTests {
    @Test(arguments: [1, 2, 5]) func everyBlockRunsOnceWithDenormalsFlushed(threads: Int) {
        let results = UnsafeMutableBufferPointer<Float>.allocate(capacity: 100)
        results.initialize(repeating: -1)
        defer { results.deallocate() }
        nonisolated(unsafe) let shared = results
        let tiny = Float.leastNormalMagnitude
        ParallelBlocks(threads: threads).forEach(100) { block, thread in
            precondition(thread < threads)
            // A denormal number: zero where denormals are flushed.
            shared[block] += 1 + tiny / Float(block + 2) * 0x1p120
        }
        #expect(results.allSatisfy { $0 == 0 })
    }
}
