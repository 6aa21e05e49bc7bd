internal import Determinism
internal import Foundation

/// Search in a gallery that has persons with labels, several images each, and distractors of whom nothing is known: TinyFace's protocol.
public struct OpenSetSearch: Sendable, Hashable, Codable {
    /// The ranks that papers give.
    public static let ranks = [1, 5, 20]

    public var gallerySize: Int
    public var distractors: Int
    /// Probes of whom the gallery has an image.
    public var probes: Int
    /// Probes that are left out because the gallery has none.
    public var leftOut: Int
    /// The share of probes of whom any image is among the first k, for each k of `ranks`; nil if there is no probe. Of equal scores the wrong
    /// one counts as the better.
    public var rates: [Double]?

    /// - Parameters:
    ///   - gallery: features at length 1, the distractors after the others.
    ///   - labels: persons of the gallery's first rows; the rows after them are distractors.
    ///   - probeLabels: a person for each row of `probes`.
    public init(
        gallery: TemplateFeatures, labels: [String], probes: TemplateFeatures, probeLabels: [String], threads: Int
    ) {
        precondition(labels.count <= gallery.count && probeLabels.count == probes.count, "one label per row")
        precondition(gallery.size == probes.size, "features of one length")
        var mates: [String: [Int]] = [:]
        for (row, label) in labels.enumerated() { mates[label, default: []].append(row) }
        let used = probeLabels.indices.filter { mates[probeLabels[$0]] != nil }
        (gallerySize, distractors) = (gallery.count, gallery.count - labels.count)
        (self.probes, leftOut) = (used.count, probeLabels.count - used.count)
        guard !used.isEmpty else {
            rates = nil
            return
        }
        let size = gallery.size
        let wanted = used.map { mates[probeLabels[$0]] ?? [] }
        let block = 32
        let all = gallery.values
        let mine = probes.rows(used.map(Int32.init))
        let positions = [Int](unsafeUninitializedCapacity: used.count) { target, filled in
            nonisolated(unsafe) let target = target
            ParallelBlocks(threads: max(1, threads)).forEach((used.count + block - 1) / block) { number, _ in
                let range = number * block..<min(used.count, (number + 1) * block)
                var best = [Float](repeating: -.infinity, count: range.count)
                var better = [Int](repeating: 0, count: range.count)
                // First the best mate of each probe, then what is before it.
                Self.forEachTile(mine, range, all, gallery.count, size) { start, count, scores in
                    for index in 0..<range.count {
                        for mate in wanted[range.lowerBound + index] where (start..<start + count).contains(mate) {
                            best[index] = max(best[index], scores[index * count + mate - start])
                        }
                    }
                }
                Self.forEachTile(mine, range, all, gallery.count, size) { start, count, scores in
                    for index in 0..<range.count {
                        for column in 0..<count where scores[index * count + column] >= best[index] {
                            better[index] += 1
                        }
                        for mate in wanted[range.lowerBound + index] where (start..<start + count).contains(mate) {
                            if scores[index * count + mate - start] >= best[index] { better[index] -= 1 }
                        }
                    }
                }
                for (index, probe) in range.enumerated() { (target.baseAddress! + probe).initialize(to: better[index]) }
            }
            filled = used.count
        }
        rates = Self.ranks.map { rank in Double(positions.count { $0 < rank }) / Double(used.count) }
    }

    private static func forEachTile(
        _ rows: [Float], _ range: Range<Int>, _ gallery: [Float], _ count: Int, _ size: Int,
        _ body: (_ start: Int, _ count: Int, _ scores: [Float]) -> Void
    ) {
        let tile = 4096
        var scores = [Float](repeating: 0, count: range.count * min(tile, count))
        for start in stride(from: 0, to: count, by: tile) {
            let columns = start..<min(count, start + tile)
            Products.matrix(rows, range, gallery, columns, size, into: &scores)
            body(start, columns.count, scores)
        }
    }

    /// The person that a file is of: its name before the first `_`.
    public static func label(ofFile name: String) -> String {
        String((name as NSString).lastPathComponent.prefix { $0 != "_" })
    }
}
