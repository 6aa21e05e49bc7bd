internal import CKernels
public import CenterStore
internal import Determinism

/// Chooses the classes that take part in a step: all positives, and uniform negatives, slice by slice.
///
/// The negatives of a slice are the first ones of a pseudo-random permutation of the slice whose key is (seed, step,
/// slice), so the choice costs time and memory of the number chosen, and who makes it does not matter.
public struct ClassSampler: Sendable {
    public let layout: SliceLayout
    public let seed: UInt64
    public let sampleRate: Double

    public init(layout: SliceLayout, seed: UInt64, sampleRate: Double) {
        self.layout = layout
        self.seed = seed
        self.sampleRate = sampleRate
    }

    /// The chosen classes of a slice.
    public struct Choice: Sendable {
        /// Class ids, ascending.
        public var ids: [Int64]
        /// How often the permutation was evaluated: at most a small multiple of the number chosen.
        public var evaluations: UInt64
    }

    /// ⌊r·classCount⌋, where a rate written as a decimal counts as that decimal (0.29 of 100 is 29).
    public func target(classCount: Int) -> Int { min(classCount, Int(Double(classCount) * sampleRate + 1e-9)) }

    /// The classes of `slice` that take part in `step`.
    ///
    /// - Parameter positives: the classes of the global batch that lie in the slice, ascending, each once.
    public func sample(step: Int, slice: Int, positives: ArraySlice<Int64>) -> Choice {
        let classes = layout.classes(of: slice)
        let wanted = target(classCount: classes.count)
        if wanted == classes.count { return Choice(ids: classes.map(Int64.init), evaluations: 0) }
        if wanted <= positives.count { return Choice(ids: Array(positives), evaluations: 0) }
        var key = KeyedRandom(seed: seed, purpose: .negativeSampling, UInt64(step), UInt64(slice))
        // At most positives.count of the first `wanted` values are positives, so these always hold enough negatives.
        var evaluations: UInt64 = 0
        let values = [UInt64](unsafeUninitializedCapacity: wanted) { buffer, count in
            evaluations = pfc_head_permute(key.next(), UInt64(classes.count), UInt64(wanted), buffer.baseAddress)
            count = wanted
        }
        var ids = Array(positives)
        ids.reserveCapacity(wanted)
        for value in values where ids.count < wanted {
            let id = Int64(classes.lowerBound) + Int64(value)
            if !positives.contains(sorted: id) { ids.append(id) }
        }
        ids.sort()
        return Choice(ids: ids, evaluations: evaluations)
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
