internal import Dataset
internal import Determinism
internal import Foundation

/// Cosines of rows of real numbers, by BLAS.
final class RealScores: GalleryScores, @unchecked Sendable {
    private static let pieceByteCount = 64 << 20

    let count: Int
    let probeCount: Int
    let pieceRowCount: Int
    private let size: Int
    /// At length 1, with rows of zeros up to whole panels.
    private let probes: [Float]
    /// Nil if all rows are in memory.
    private let files: RowFiles?
    // Written by `load`, while nobody else is at work.
    private var piece: [Float]
    private var first = 0

    /// Rows that are in memory, both at length 1.
    init(gallery: [Float], probes: [Float], size: Int) {
        count = gallery.count / size
        pieceRowCount = max(1, (count + GallerySearch.tile - 1) / GallerySearch.tile) * GallerySearch.tile
        (piece, files, self.size) = (gallery, nil, size)
        (self.probes, probeCount) = Self.panels(of: probes, size)
    }

    /// Rows in files, brought to length 1 as they are read.
    init(gallery: RowFiles, probes: [Float]) {
        count = gallery.count
        size = gallery.size
        pieceRowCount = GallerySearch.pieceRowCount(rowByteCount: 4 * size, byteCount: Self.pieceByteCount)
        files = gallery
        piece = [Float](repeating: 0, count: min(pieceRowCount, count) * size)
        (self.probes, probeCount) = Self.panels(of: probes, size)
    }

    private static func panels(of probes: [Float], _ size: Int) -> (rows: [Float], count: Int) {
        let count = probes.count / size
        let missing = (GallerySearch.panel - count % GallerySearch.panel) % GallerySearch.panel
        return (probes + [Float](repeating: 0, count: missing * size), count)
    }

    func load(_ rows: Range<Int>, threads: Int) throws(DatasetError) {
        guard let files else { return }
        first = rows.lowerBound
        let failures = Failures()
        let size = size
        piece.withUnsafeMutableBufferPointer { target in
            let target = Shared(target)
            let block = 1024
            ParallelBlocks(threads: threads).forEach((rows.count + block - 1) / block) { number, _ in
                let start = rows.lowerBound + number * block
                do throws(DatasetError) {
                    try files.forEach(in: start..<min(rows.upperBound, start + block)) {
                        file, range, place throws(DatasetError) in
                        let values = try file.directions(range)
                        let base = target.value.baseAddress! + (number * block + place) * size
                        values.withUnsafeBufferPointer { base.update(from: $0.baseAddress!, count: $0.count) }
                    }
                } catch { failures.add(number, error) }
            }
        }
        if let failure = failures.first { throw failure }
    }

    func scores(panel: Int, rows: Range<Int>, into target: UnsafeMutablePointer<Float>) {
        piece.withUnsafeBufferPointer { piece in
            probes.withUnsafeBufferPointer { probes in
                Products.matrix(
                    piece.baseAddress! + (rows.lowerBound - first) * size, rows.count,
                    probes.baseAddress! + panel * GallerySearch.panel * size, GallerySearch.panel, size, into: target)
            }
        }
    }
}
