import Cluster
import Foundation
import Model
import ParameterStore
import PartialFC
import TestSupport
import Testing

/// Negatives are uniform, without replacement, independent between steps and slices, and cheap.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SamplingTests {
    static func sampler(
        _ classes: Int, slices: Int = 1, rate: Double, seed: UInt64 = 1, rule: SamplingRule = .shared
    ) throws -> ClassSampler {
        ClassSampler(
            layout: try SliceLayout(classCount: classes, sliceCount: slices), seed: seed, sampleRate: rate, rule: rule)
    }

    static func old(_ classes: Int, slices: Int, rate: Double) throws -> ClassSampler {
        try sampler(classes, slices: slices, rate: rate, rule: .perSlice)
    }

    /// How many standard deviations a chi-square statistic is from its mean (Wilson and Hilferty 1931).
    static func deviations(_ chiSquare: Double, freedom: Double) -> Double {
        let spread = 2 / (9 * freedom)
        return (cbrt(chiSquare / freedom) - (1 - spread)) / spread.squareRoot()
    }

    @Test(arguments: [5, 7, 12, 37, 100, 257, 1000, 1500]) func everyClassIsEquallyLikely(classes: Int) throws {
        let steps = 200_000 / classes
        let sampler = try Self.sampler(classes, rate: 0.4)
        let chosen = sampler.target(classCount: classes)
        var counts = [Double](repeating: 0, count: classes)
        for step in 0..<steps {
            for id in sampler.sample(step: step, slice: 0, positives: []).ids { counts[Int(id)] += 1 }
        }
        // Without replacement the variance of a count is that of a Bernoulli trial with a negative covariance.
        let p = Double(chosen) / Double(classes)
        let mean = Double(steps) * p
        let chi =
            counts.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (mean * (1 - p)) * Double(classes - 1)
            / Double(classes)
        #expect(abs(Self.deviations(chi, freedom: Double(classes - 1))) < 4.5)
    }

    @Test(arguments: [5, 8, 12, 257, 300]) func everyPairIsEquallyLikely(classes: Int) throws {
        let sampler = try Self.sampler(classes, rate: 2.01 / Double(classes))
        var counts: [[Int64]: Double] = [:]
        let pairs = Double(classes * (classes - 1) / 2)
        let steps = max(60_000, Int(pairs) * 8)
        for step in 0..<steps { counts[sampler.sample(step: step, slice: 0, positives: []).ids, default: 0] += 1 }
        let mean = Double(steps) / pairs
        // Pairs that never came are mean² / mean each.
        let chi =
            counts.values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) / mean } + (pairs - Double(counts.count)) * mean
        #expect(abs(Self.deviations(chi, freedom: pairs - 1)) < 4.5)
    }

    @Test func stepsSlicesAndSeedsAreIndependent() throws {
        // The overlap of two choices of k of n is hypergeometric.
        let (n, rate) = (512, 0.25)
        let (a, b) = (
            try Self.sampler(n * 4, slices: 4, rate: rate), try Self.sampler(n * 4, slices: 4, rate: rate, seed: 2)
        )
        let k = Double(n) * rate
        func overlap(_ x: [Int64], _ y: [Int64]) -> Double {
            Double(Set(x.map { $0 % Int64(n) }).intersection(y.map { $0 % Int64(n) }).count)
        }
        let steps = 500
        var sums = [0.0, 0.0, 0.0, 0.0]
        for step in 0..<steps {
            let here = a.sample(step: step, slice: 0, positives: []).ids
            sums[0] += overlap(here, a.sample(step: step + 1, slice: 0, positives: []).ids)
            sums[1] += overlap(here, a.sample(step: step, slice: 1, positives: []).ids)
            sums[2] += overlap(here, b.sample(step: step, slice: 0, positives: []).ids)
            sums[3] += overlap(here, a.sample(step: step + 1, slice: 3, positives: []).ids)
        }
        let mean = k * rate
        let deviation = (mean * (1 - rate) * (Double(n) - k) / Double(n - 1) / Double(steps)).squareRoot()
        for sum in sums { #expect(abs(sum / Double(steps) - mean) < 4.5 * deviation) }
    }

    @Test func positivesAreNeverDropped() throws {
        let sampler = try Self.old(1000, slices: 4, rate: 0.1)
        let positives: [Int64] = [250, 251, 300, 333, 499]
        let ids = sampler.sample(step: 3, slice: 1, positives: positives).ids
        #expect(ids.count == 25 && Set(ids).count == 25 && ids == ids.sorted())
        #expect(Set(ids).isSuperset(of: positives))
        #expect(ids.allSatisfy { (250..<500).contains($0) })
        // More positives than the rate allows: they alone.
        let many = (500..<560).map(Int64.init)
        #expect(sampler.sample(step: 3, slice: 2, positives: many).ids == many)
        // The negatives beside positives are those that were first without them.
        let without = sampler.sample(step: 3, slice: 1, positives: []).ids
        #expect(Set(ids).subtracting(positives).isSubset(of: Set(without).union(ids)))
        #expect(Set(ids).subtracting(positives).isSubset(of: without))
        for rule in SamplingRule.allCases {
            let none = try Self.sampler(1000, rate: 0, rule: rule)
            #expect(none.sample(step: 0, slice: 0, positives: [4, 9]).ids == [4, 9])
            let all = try Self.sampler(10, rate: 1, rule: rule)
            #expect(all.sample(step: 0, slice: 0, positives: [4, 9]).ids == Array(0..<10))
        }
        #expect(sampler.target(classCount: 29) == 2)
        #expect(try Self.sampler(100, rate: 0.29).target(classCount: 100) == 29)
    }

    static func share(_ sampler: ClassSampler, step: Int) -> [Int] {
        (0..<sampler.layout.sliceCount).map { sampler.sample(step: step, slice: $0, positives: []).ids.count }
    }

    /// However the classes are cut, as many take part as if they were not.
    @Test(arguments: [0.1, 0.5, 0.29, 0.999, 1, 1.0 / 3, 0.001, 0])
    func asManyAsOfOneSlice(rate: Double) throws {
        for classes in [1, 2, 7, 16, 40, 100, 159, 160, 1003, 20_011] {
            let wanted = try Self.sampler(classes, rate: rate).target(classCount: classes)
            for slices in [1, 2, 16, 64, 1024] {
                let sampler = try Self.sampler(classes, slices: slices, rate: rate)
                for step in [0, 1, 977] {
                    let shares = Self.share(sampler, step: step)
                    #expect(shares.reduce(0, +) == wanted, "\(classes) classes in \(slices) slices at \(rate)")
                    for (slice, share) in shares.enumerated() {
                        let exact = Double(wanted * sampler.layout.classes(of: slice).count) / Double(classes)
                        #expect(abs(Double(share) - exact) < 1)
                    }
                }
            }
        }
    }

    @Test func addedAndRetiredClassesCount() throws {
        var layout = try SliceLayout(classCount: 37, sliceCount: 16)
        for count in [5, 1, 30] { layout = try layout.adding(count) }
        for retired: SliceSet in [[], [0], [3, 4, 5, 36, 40, 72], SliceSet(0..<72), SliceSet(10..<73)] {
            let sampler = ClassSampler(layout: layout, retired: retired, seed: 4, sampleRate: 0.4)
            let active = 73 - retired.count
            for step in 0..<20 {
                let ids = (0..<16).flatMap { sampler.sample(step: step, slice: $0, positives: []).ids }
                #expect(
                    ids.count == sampler.target(classCount: active)
                        && Set(ids).isDisjoint(with: retired.numbers.map(Int64.init)))
            }
        }
    }

    /// Where a slice has less than one class to give, none of its classes is left out for ever.
    @Test func remaindersFallOnEverySlice() throws {
        let (classes, steps) = (100, 20_000)
        let sampler = try Self.sampler(classes, slices: 16, rate: 0.1)
        var counts = [Double](repeating: 0, count: classes)
        for step in 0..<steps {
            for slice in 0..<16 {
                for id in sampler.sample(step: step, slice: slice, positives: []).ids { counts[Int(id)] += 1 }
            }
        }
        let mean = Double(steps) * 0.1
        let deviation = (mean * 0.9).squareRoot()
        #expect(counts.reduce(0, +) == Double(steps) * 10)
        for count in counts { #expect(abs(count - mean) < 5 * deviation) }
    }

    /// The positives of the batch count as of one slice, wherever they lie; the negatives are shared out among the other classes.
    @Test func positivesAreAmongThem() throws {
        for (positives, total) in [
            ([0, 1, 2, 3, 4, 50], 10), (Array(0..<30), 30), (Array(90..<100), 10), ([99], 10),
            ([0, 20, 40, 60, 80], 10),
        ] as [([Int64], Int)] {
            let sampler = try Self.sampler(100, slices: 16, rate: 0.1)
            for step in 0..<50 {
                let slices = (0..<16).map { sampler.sample(step: step, slice: $0, positives: positives).ids }
                let ids = slices.flatMap { $0 }
                #expect(ids.count == total && Set(ids).isSuperset(of: positives))
                for (slice, ids) in slices.enumerated() {
                    let others = Double(Set(sampler.layout.classes(of: slice).ids).subtracting(positives).count)
                    let exact = Double(total - positives.count) * others / Double(100 - positives.count)
                    #expect(abs(Double(Set(ids).subtracting(positives).count) - exact) < 1)
                }
            }
        }
        // Every other class is as likely to be chosen.
        let sampler = try Self.sampler(40, slices: 8, rate: 0.5)
        var counts: [Int64: Double] = [:]
        for step in 0..<20_000 {
            for slice in 0..<8 {
                for id in sampler.sample(step: step, slice: slice, positives: [0, 1, 2, 3, 4, 5, 20, 39]).ids {
                    counts[id, default: 0] += 1
                }
            }
        }
        let chance = 12.0 / 32
        let deviation = (20_000 * chance * (1 - chance)).squareRoot()
        for (id, count) in counts where ![0, 1, 2, 3, 4, 5, 20, 39].contains(id) {
            #expect(abs(count - 20_000 * chance) < 5 * deviation)
        }
    }

    /// Runs that began with the first rule keep it, bit for bit; with one slice both are the same.
    @Test func theFirstRuleIsKept() throws {
        #expect(Self.share(try Self.old(144, slices: 16, rate: 0.1), step: 3) == [Int](repeating: 0, count: 16))
        #expect(Self.share(try Self.old(100, slices: 4, rate: 0.29), step: 3) == [7, 7, 7, 7])
        let few = try Self.old(40, slices: 4, rate: 0.25)
        #expect((0..<4).map { few.sample(step: 7, slice: $0, positives: []).ids } == Self.firstRule)
        for (classes, rate) in [(100, 0.29), (1003, 0.1), (5, 0.5)] {
            let (first, second) = (try Self.old(classes, slices: 1, rate: rate), try Self.sampler(classes, rate: rate))
            for step in 0..<20 {
                #expect(
                    first.sample(step: step, slice: 0, positives: [2]).ids
                        == second.sample(step: step, slice: 0, positives: [2]).ids)
            }
        }
    }

    /// What version 0.2 chose of 40 classes in four slices at a rate of 0.25, seed 1, step 7.
    static let firstRule: [[Int64]] = [[4, 9], [12, 17], [22, 28], [30, 32]]

    @Test func numbersBeyond64BitsAreShared() throws {
        let sampler = try Self.sampler(1 << 40, slices: 1 << 16, rate: 1e-9)
        #expect(Self.share(sampler, step: 2).reduce(0, +) == 1099)
    }

    @Test func workGrowsWithTheSampleAlone() throws {
        for classes in [1 << 12, 1 << 16, (1 << 16) + 1, 1 << 20, (1 << 24) + 1, 10_000_000] {
            let sampler = try Self.sampler(classes, rate: 1000.5 / Double(classes))
            let choice = sampler.sample(step: 0, slice: 0, positives: [1, 2, 3])
            #expect(choice.ids.count == 1000)
            // Cycle walking: the domain is less than twice the slice.
            #expect(choice.evaluations >= 1000 && choice.evaluations < 2300)
        }
    }

    @Test func shardsDoNotMatter() throws {
        let configuration = HeadConfiguration(classCount: 1003, embeddingSize: 4, sliceCount: 16, sampleRate: 0.2)
        let (_, labels) = makeBatch(configuration, size: 32)
        var expected: [Int64]?
        for (count, scattered) in [(1, false), (2, false), (3, true), (7, false), (16, true)] {
            var ids: [Int64] = []
            for slices in Spread(
                exchange: .rows, shards: count, workers: 1, microBatchSize: 8, scattered: scattered
            ).owned(of: 16) {
                let shard = try ShardHead(configuration: configuration, slices: slices, threads: 2)
                try shard.begin(step: 5, microBatchSize: 8, labels: labels)
                ids += shard.sampledIDs
            }
            #expect(expected == nil || expected == ids.sorted())
            expected = ids.sorted()
        }
        #expect(Set(expected ?? []).isSuperset(of: labels))
    }
}
