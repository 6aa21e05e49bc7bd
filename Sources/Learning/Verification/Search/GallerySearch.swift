internal import CRows
internal import Dataset
internal import Determinism

/// The rows of a gallery that are nearest to each probe: every row is looked at, once.
///
/// The gallery is read in pieces. In each piece, panels of probes, and parts of the piece where there are fewer panels than threads keep
/// busy, go their own ways; what they find is joined at the end, so that the result does not depend on threads.
enum GallerySearch {
    /// Probes of a panel.
    static let panel = Int(pfc_panel_rows)
    /// Gallery rows whose scores are made at a time.
    static let tile = 128

    /// Rows of a piece of about so many bytes: a multiple of `tile`.
    static func pieceRowCount(rowByteCount: Int, byteCount: Int) -> Int {
        max(1, byteCount / rowByteCount / tile) * tile
    }

    /// Looks for every probe.
    ///
    /// - Parameters:
    ///   - mates: for each probe the gallery's rows of its person, ascending.
    ///   - rivals: how many of the highest scores of other persons are kept.
    ///   - places: how many of the nearest rows are kept, whoever they are of.
    ///   - progress: is told how many rows are done.
    /// - Throws: `DatasetError` if rows cannot be read.
    static func run(
        _ scores: some GalleryScores, mates: [[Int]], rivals: Int, places: Int, threads: Int,
        progress: (Int) -> Void = { _ in }
    ) throws(DatasetError) -> [ProbeFindings] {
        precondition(mates.count == scores.probeCount, "a list of mates for each probe")
        let threads = max(1, threads)
        let panels = (scores.probeCount + panel - 1) / panel
        guard panels > 0 else { return [] }
        let parts = panels >= 4 * threads ? 1 : (4 * threads + panels - 1) / panels
        let states = (0..<panels).flatMap { number in
            (0..<parts).map { _ in
                PanelSearch(
                    mates[number * panel..<min(scores.probeCount, (number + 1) * panel)], rivals: rivals, places: places
                )
            }
        }
        for start in stride(from: 0, to: scores.count, by: scores.pieceRowCount) {
            let piece = start..<min(scores.count, start + scores.pieceRowCount)
            try scores.load(piece, threads: threads)
            let tiles = (piece.count + tile - 1) / tile
            ParallelBlocks(threads: threads).forEach(panels * parts) { unit, _ in
                let (number, part) = (unit / parts, unit % parts)
                withUnsafeTemporaryAllocation(of: Float.self, capacity: tile * panel) { buffer in
                    guard let base = buffer.baseAddress else { return }
                    for index in tiles * part / parts..<tiles * (part + 1) / parts {
                        let first = start + index * tile
                        let rows = first..<min(piece.upperBound, first + tile)
                        scores.scores(panel: number, rows: rows, into: base)
                        states[unit].add(base, rows: rows)
                    }
                }
            }
            progress(piece.upperBound)
        }
        return (0..<panels).flatMap { number in
            let mine = states[number * parts..<(number + 1) * parts]
            return (0..<mine[mine.startIndex].probeCount).map { index in
                ProbeFindings(joining: mine.map { $0.findings[index] }, rivals: rivals, places: places)
            }
        }
    }
}
