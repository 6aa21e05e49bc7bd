internal import CKernels
public import Cluster
internal import Determinism
public import Model
public import ParameterStore

/// Chooses the classes that take part in a step: all positives, and uniform negatives, slice by slice.
///
/// The negatives of a slice are the first ones of a pseudo-random permutation of the slice's rows whose key is (seed, step,
/// slice), so the choice costs time and memory of the number chosen, and who makes it does not matter. Retired classes are
/// passed over: the rate counts the others.
public struct ClassSampler: Sendable {
    public let layout: SliceLayout
    public let seed: UInt64
    public private(set) var sampleRate: Double
    public let rule: SamplingRule
    /// The rows of retired classes in each slice that has some.
    private let retiredRows: [Int: SliceSet]
    private let shares: SampleShares

    /// - Parameter retired: classes of the layout that are not chosen.
    public init(
        layout: SliceLayout, retired: SliceSet = [], seed: UInt64, sampleRate: Double, rule: SamplingRule = .shared
    ) {
        self.layout = layout
        self.seed = seed
        self.sampleRate = sampleRate
        self.rule = rule
        shares = SampleShares(layout: layout, retired: retired, seed: seed)
        var rows: [Int: SliceSet] = [:]
        if !retired.isEmpty {
            for slice in 0..<layout.sliceCount { rows[slice] = layout.classes(of: slice).rows(of: retired) }
        }
        retiredRows = rows.filter { !$0.value.isEmpty }
    }

    /// One that chooses as many as another rate asks for.
    public func with(sampleRate: Double) -> ClassSampler {
        var copy = self
        copy.sampleRate = sampleRate
        return copy
    }

    /// The chosen classes of a slice.
    public struct Choice: Sendable {
        /// Class ids, ascending.
        public var ids: [Int64]
        /// The row of each in its slice.
        public var rows: [Int64]
        /// How often the permutation was evaluated: at most a small multiple of the number chosen.
        public var evaluations: UInt64
    }

    /// ⌊r·classCount⌋, where a rate written as a decimal counts as that decimal (0.29 of 100 is 29).
    public func target(classCount: Int) -> Int { min(classCount, Int(Double(classCount) * sampleRate + 1e-9)) }

    /// The classes of `slice` that take part in `step`.
    ///
    /// - Parameter positives: the classes of the whole global batch, ascending, each once, none retired.
    public func sample(step: Int, slice: Int, positives: [Int64]) -> Choice {
        let classes = layout.classes(of: slice)
        let own = classes.rows(ofSorted: positives)
        let active = classes.count - (retiredRows[slice]?.count ?? 0)
        let wanted =
            switch rule {
            case .perSlice: target(classCount: active)
            case .shared:
                own.count
                    + shares.share(
                        of: target(classCount: shares.activeCount) - positives.count, slice: slice, step: step,
                        positives: positives)
            }
        var evaluations: UInt64 = 0
        let rows = rows(
            step: step, slice: slice, count: classes.count, wanted: wanted, positives: own, &evaluations)
        return Choice(ids: classes.ids(ofRows: rows), rows: rows, evaluations: evaluations)
    }

    private func rows(
        step: Int, slice: Int, count: Int, wanted: Int, positives: [Int64], _ evaluations: inout UInt64
    ) -> [Int64] {
        let retired = retiredRows[slice] ?? []
        let active = count - retired.count
        if wanted <= positives.count && wanted < active { return positives }
        if wanted == active {
            let all = (0..<Int64(count))
            return retired.isEmpty ? Array(all) : all.filter { !retired.contains(Int($0)) }
        }
        var key = KeyedRandom(seed: seed, purpose: .negativeSampling, UInt64(step), UInt64(slice))
        let word = key.next()
        // At most positives.count of the first `wanted` values are positives, so without retired classes these always hold
        // enough negatives. With some, a few more values than are expected to do, and twice as many as long as they do not:
        // the first values are the same however many there are.
        var drawn = retired.isEmpty ? wanted : min(count, wanted * count / active + wanted / 8 + 32)
        while true {
            let values = [UInt64](unsafeUninitializedCapacity: drawn) { buffer, initialized in
                evaluations += pfc_head_permute(word, UInt64(count), UInt64(drawn), buffer.baseAddress)
                initialized = drawn
            }
            var rows = positives
            rows.reserveCapacity(wanted)
            for value in values where rows.count < wanted {
                let row = Int64(value)
                if !positives.contains(sorted: row) && !retired.contains(Int(row)) { rows.append(row) }
            }
            if rows.count == wanted || drawn == count {
                rows.sort()
                return rows
            }
            drawn = min(count, drawn * 2)
        }
    }
}

extension RandomAccessCollection where Element: Comparable, Index == Int {
    /// The first position whose element is not below `element`, in an ascending collection.
    func lowerBound(sorted element: Element) -> Int {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = low + (high - low) / 2
            if self[middle] < element { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Whether an ascending collection has `element`.
    func contains(sorted element: Element) -> Bool {
        let index = lowerBound(sorted: element)
        return index < endIndex && self[index] == element
    }
}
