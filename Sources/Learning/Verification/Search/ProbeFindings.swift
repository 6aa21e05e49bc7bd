internal import CRows

/// A row of a gallery, and how near it is.
public struct GalleryMatch: Sendable, Hashable, Codable {
    public var row: Int
    /// The cosine.
    public var score: Float
}

/// What a probe finds.
struct ProbeFindings: Sendable {
    /// The highest score of a row of its person, nil if there is none.
    var own: Float?
    /// The highest scores of rows of other persons, descending.
    var rivals: [Float] = []
    /// The nearest rows, whoever they are of: highest score first, of equal scores the lower row.
    var nearest: [GalleryMatch] = []

    /// The highest score of all; nil if neither rivals nor its person's rows were looked for.
    var best: Float? { [own, rivals.first].compactMap { $0 }.max() }
    /// How many rows of other persons have at least its person's score: of equal scores the wrong one counts as the better. No more are
    /// counted than rivals were kept.
    var better: Int { own.map { own in rivals.count { $0 >= own } } ?? rivals.count }

    init() {}

    /// What parts of the gallery gave, in any order.
    init(joining parts: [ProbeFindings], rivals: Int, places: Int) {
        own = parts.compactMap(\.own).max()
        self.rivals = Array(parts.flatMap(\.rivals).sorted(by: >).prefix(rivals))
        nearest = Array(
            parts.flatMap(\.nearest).sorted { ($1.score, $0.row) < ($0.score, $1.row) }.prefix(places))
    }
}

/// What a panel's probes find in a part of the gallery, whose rows come in ascending order.
final class PanelSearch: @unchecked Sendable {
    private let mates: [[Int]]
    private let rivalLimit: Int
    private let placeLimit: Int
    private(set) var findings: [ProbeFindings]
    /// Scores that are not above this one change nothing; that of probes that are missing is infinite.
    private var limits: [Float]

    var probeCount: Int { mates.count }

    init(_ mates: ArraySlice<[Int]>, rivals: Int, places: Int) {
        self.mates = Array(mates)
        (rivalLimit, placeLimit) = (rivals, places)
        findings = [ProbeFindings](repeating: ProbeFindings(), count: mates.count)
        let limit: Float = rivals > 0 || places > 0 ? -.infinity : .infinity
        limits =
            [Float](repeating: limit, count: mates.count)
            + [Float](repeating: .infinity, count: GallerySearch.panel - mates.count)
    }

    /// Takes scores [rows, 64].
    func add(_ scores: UnsafePointer<Float>, rows: Range<Int>) {
        for probe in mates.indices where !mates[probe].isEmpty {
            let mine = mates[probe]
            var index = Self.lowerBound(of: rows.lowerBound, in: mine)
            while index < mine.count, mine[index] < rows.upperBound {
                let score = scores[(mine[index] - rows.lowerBound) * GallerySearch.panel + probe]
                findings[probe].own = max(findings[probe].own ?? -.infinity, score)
                index += 1
            }
        }
        var row = next(scores, 0, rows.count)
        while row < rows.count {
            for probe in mates.indices {
                let score = scores[row * GallerySearch.panel + probe]
                if score > limits[probe] { take(score, row: rows.lowerBound + row, probe: probe) }
            }
            row = next(scores, row + 1, rows.count)
        }
    }

    private func next(_ scores: UnsafePointer<Float>, _ first: Int, _ count: Int) -> Int {
        limits.withUnsafeBufferPointer {
            pfc_first_row_above(scores, first, count, GallerySearch.panel, $0.baseAddress)
        }
    }

    private func take(_ score: Float, row: Int, probe: Int) {
        if placeLimit > 0 {
            // Rows ascend: of equal scores those that are there are the lower.
            let place = findings[probe].nearest.firstIndex { $0.score < score } ?? findings[probe].nearest.count
            if place < placeLimit {
                if findings[probe].nearest.count == placeLimit { findings[probe].nearest.removeLast() }
                findings[probe].nearest.insert(GalleryMatch(row: row, score: score), at: place)
            }
        }
        if rivalLimit > 0, !isMate(row, of: probe) {
            let place = findings[probe].rivals.firstIndex { $0 < score } ?? findings[probe].rivals.count
            if place < rivalLimit {
                if findings[probe].rivals.count == rivalLimit { findings[probe].rivals.removeLast() }
                findings[probe].rivals.insert(score, at: place)
            }
        }
        let found = findings[probe]
        let placeBound =
            placeLimit == 0
            ? .infinity : found.nearest.count < placeLimit ? -.infinity : found.nearest[placeLimit - 1].score
        let rivalBound =
            rivalLimit == 0 ? .infinity : found.rivals.count < rivalLimit ? -.infinity : found.rivals[rivalLimit - 1]
        limits[probe] = min(placeBound, rivalBound)
    }

    private func isMate(_ row: Int, of probe: Int) -> Bool {
        let place = Self.lowerBound(of: row, in: mates[probe])
        return place < mates[probe].count && mates[probe][place] == row
    }

    /// The index of the first number that is at least `value`.
    private static func lowerBound(of value: Int, in sorted: [Int]) -> Int {
        var (low, high) = (0, sorted.count)
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
