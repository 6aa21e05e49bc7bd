internal import Cluster
internal import Determinism
internal import ParameterStore

/// Shares the negatives of a step out among slices.
///
/// Systematic sampling with a random start (Madow and Madow 1944), in whole numbers: with A classes that may be chosen, a of them in
/// the slices before slice k and b in those up to it, M to be chosen and a number u in 0..<A, slice k gives
/// ⌊(M·b + u) / A⌋ − ⌊(M·a + u) / A⌋. All slices together give M, each of them its part of M rounded up or down, and never more than
/// it has. u is a function of (seed, step): the remainders fall on other slices in every step, and every class is as likely to be chosen
/// as any other.
struct SampleShares: Sendable {
    let layout: SliceLayout
    let seed: UInt64
    /// Retired classes in the slices before each slice, and last in all.
    private let retiredBefore: [Int]

    init(layout: SliceLayout, retired: SliceSet, seed: UInt64) {
        self.layout = layout
        self.seed = seed
        var before = [0]
        for slice in 0..<layout.sliceCount {
            before.append(before[slice] + (retired.isEmpty ? 0 : layout.classes(of: slice).rows(of: retired).count))
        }
        retiredBefore = before
    }

    /// Classes that are not retired.
    var activeCount: Int { layout.classCount - retiredBefore[layout.sliceCount] }

    /// What `slice` gives of `total` classes.
    ///
    /// - Parameter positives: active classes that are chosen anyway and are not among the `total`, ascending, each once.
    func share(of total: Int, slice: Int, step: Int, positives: [Int64]) -> Int {
        let all = activeCount - positives.count
        guard total > 0, all >= total else { return 0 }
        var random = KeyedRandom(seed: seed, purpose: .sampleShares, UInt64(step))
        let start = random.below(UInt64(all))
        func given(before slice: Int) -> Int {
            let classes =
                layout.classCount(beforeSlice: slice) - retiredBefore[slice]
                - count(of: positives, beforeSlice: slice)
            let (high, low) = UInt64(total).multipliedFullWidth(by: UInt64(classes))
            let (sum, carry) = low.addingReportingOverflow(start)
            // Both factors are at most `all`, so the quotient is at most `total`.
            return Int(UInt64(all).dividingFullWidth((high + (carry ? 1 : 0), sum)).quotient)
        }
        return given(before: slice + 1) - given(before: slice)
    }

    /// How many of ascending class ids lie in the slices before `slice`.
    private func count(of ids: [Int64], beforeSlice slice: Int) -> Int {
        if ids.isEmpty { return 0 }
        return layout.extents.reduce(0) { count, extent in
            let end = extent.lowerBound + extent.count * slice / layout.sliceCount
            return count + ids.lowerBound(sorted: Int64(end)) - ids.lowerBound(sorted: Int64(extent.lowerBound))
        }
    }
}
