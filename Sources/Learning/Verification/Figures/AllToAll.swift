internal import Determinism
internal import Foundation

/// Every pair of images of a labelled set: true accept rates by histograms, whatever the number of pairs.
public struct AllToAll: Sendable, Hashable, Codable {
    /// The rates that MFR-Ongoing gave.
    public static let published = [1e-6, 1e-4]
    /// Scores are counted in steps of 2⁻²⁰ from −1 to 1; scores in one step are equal.
    static let binCount = (1 << 21) + 1

    public var images: Int
    public var samePairs: Int
    public var differentPairs: Int
    public var rates: [AcceptRates.Rate]
    /// Why there are no figures, nil if there are.
    public var reason: String?

    /// - Parameters:
    ///   - features: at length 1.
    ///   - labels: one for each row.
    public init(_ features: TemplateFeatures, labels: [Int64], threads: Int, at fars: [Double] = published) {
        precondition(labels.count == features.count, "one label per row")
        let counts = Self.count(features, labels, threads: max(1, threads))
        images = labels.count
        let (same, different) = (counts.same.reduce(0, +), counts.different.reduce(0, +))
        (samePairs, differentPairs) = (Int(same), Int(different))
        guard same > 0, different > 0 else {
            let reason =
                "all \(same + different) pairs are of \(same > 0 ? "the same person" : "different persons"); no figure can be given"
            self.reason = reason
            rates = fars.map { AcceptRates.Rate(far: $0, reason: reason) }
            return
        }
        rates = fars.map { far in
            guard far * Double(different) >= 1 - 1e-9 else {
                return AcceptRates.Rate(
                    far: far, reason: "\(different) different pairs do not resolve a rate below 1/\(different)")
            }
            var (right, wrong): (UInt64, UInt64) = (0, 0)
            for bin in stride(from: Self.binCount - 1, through: 0, by: -1) {
                let next = wrong + counts.different[bin]
                if Double(next) / Double(different) > far { break }
                (right, wrong) = (right + counts.same[bin], next)
            }
            return AcceptRates.Rate(far: far, strict: Double(right) / Double(same))
        }
    }

    private static func bin(_ score: Float) -> Int {
        let place = (Double(score) + 1) * 0x1p20
        return place > 0 ? min(binCount - 1, Int(place)) : 0
    }

    /// How many pairs i < j have a score in each bin; a thread has counts of its own.
    private static func count(
        _ features: TemplateFeatures, _ labels: [Int64], threads: Int
    ) -> (same: [UInt64], different: [UInt64]) {
        let block = 256
        let tiles = (labels.count + block - 1) / block
        let histograms = (0..<threads).map { _ in Histograms(binCount) }
        let (size, rows) = (features.size, features.values)
        ParallelBlocks(threads: threads).forEach(tiles) { row, thread in
            let counts = histograms[thread]
            let range = row * block..<min(labels.count, (row + 1) * block)
            var scores = [Float](repeating: 0, count: block * block)
            for tile in row..<tiles {
                let columns = tile * block..<min(labels.count, (tile + 1) * block)
                Products.matrix(rows, range, rows, columns, size, into: &scores)
                for i in range {
                    let line = (i - range.lowerBound) * columns.count
                    for j in max(i + 1, columns.lowerBound)..<max(i + 1, columns.upperBound) {
                        let bin = bin(scores[line + j - columns.lowerBound])
                        if labels[i] == labels[j] { counts.same[bin] += 1 } else { counts.different[bin] += 1 }
                    }
                }
            }
        }
        var total: (same: [UInt64], different: [UInt64]) = (histograms[0].same, histograms[0].different)
        for counts in histograms.dropFirst() {
            for bin in 0..<binCount {
                total.same[bin] += counts.same[bin]
                total.different[bin] += counts.different[bin]
            }
        }
        return total
    }
}

/// A thread's counts: 34 MB.
private final class Histograms: @unchecked Sendable {
    var same: [UInt64]
    var different: [UInt64]

    init(_ bins: Int) {
        same = [UInt64](repeating: 0, count: bins)
        different = [UInt64](repeating: 0, count: bins)
    }
}
