internal import Cluster

/// How many micro-batches each worker of a world computes, in the order of its ranks.
///
/// Any division gives the same bits: what is computed is of micro-batches, and is summed along their tree.
package struct MicroBatchShares: Sendable, Hashable {
    /// By rank; the sum is that of the global batch.
    package var counts: [Int]

    package init(counts: [Int]) { self.counts = counts }

    /// As many for each, as nearly as can be.
    package static func equal(_ count: Int, ranks: Int) -> Self {
        Self(counts: (0..<ranks).map { count * ($0 + 1) / ranks - count * $0 / ranks })
    }

    /// So many that all are done at about the same time.
    ///
    /// Each has at least one while there are enough: who computes nothing shows no pace either. A rank whose pace is not known counts as
    /// fast as the others are on average; if none is known, all have equal shares.
    package static func balanced(_ count: Int, paces: [Double?]) -> Self {
        let speeds = paces.compactMap { $0.map { 1 / $0 } }
        guard !speeds.isEmpty, count >= paces.count else { return equal(count, ranks: paces.count) }
        let usual = speeds.reduce(0, +) / Double(speeds.count)
        let filled = paces.map { $0 ?? 1 / usual }
        let total = filled.reduce(0) { $0 + 1 / $1 }
        var counts = filled.map { max(1, Int(Double(count) / ($0 * total))) }
        // What rounding has left goes where it is done first, what it has given too much is taken where it is done last.
        var left = count - counts.reduce(0, +)
        while left > 0,
            let next = counts.indices.min(by: {
                Self.end(counts[$0] + 1, filled[$0]) < Self.end(counts[$1] + 1, filled[$1])
            })
        {
            counts[next] += 1
            left -= 1
        }
        while left < 0,
            let last = counts.indices.filter({ counts[$0] > 1 }).max(by: {
                Self.end(counts[$0], filled[$0]) < Self.end(counts[$1], filled[$1])
            })
        {
            counts[last] -= 1
            left += 1
        }
        return Self(counts: counts)
    }

    private static func end(_ count: Int, _ pace: Double) -> Double { Double(count) * pace }

    /// When the last rank is done with its backbone, in seconds; ranks whose pace is not known do not count.
    package func seconds(paces: [Double?]) -> Double {
        zip(counts, paces).compactMap { count, pace in pace.map { Double(count) * $0 } }.max() ?? 0
    }

    /// Contiguous ranges, in the order of the ranks.
    package var ranges: [Range<Int>] {
        var start = 0
        return counts.map { count in
            defer { start += count }
            return start..<start + count
        }
    }
}
