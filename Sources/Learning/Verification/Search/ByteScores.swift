internal import CRows
internal import Dataset
internal import Determinism
internal import Foundation

/// Cosines of rows of signed bytes, by exact sums of 32 bits. Scales cancel out: a cosine is that of the codes.
final class ByteScores: GalleryScores, @unchecked Sendable {
    private static let pieceByteCount = 64 << 20

    let count: Int
    let probeCount: Int
    let pieceRowCount: Int
    private let size: Int
    private let files: RowFiles
    private let instructions: Int32
    /// Panels of 64 probes, laid out for the products.
    private let panels: UnsafeMutableRawPointer
    private let panelByteCount: Int
    /// 1 / |codes| of each probe.
    private var probeInverses: [Float]
    // Written by `load`, while nobody else is at work: codes and 1 / |codes| of the rows that are in memory.
    private let codes: UnsafeMutablePointer<Int8>
    private let inverses: UnsafeMutablePointer<Float>
    private var first = 0

    /// - Parameter instructions: of those of `rows_in_bytes.h`; nil for the best that this processor has.
    /// - Throws: `DatasetError` if rows are too long, of different lengths, or cannot be read.
    init(gallery: RowFiles, probes: EmbeddingRows, instructions: Int32? = nil) throws(DatasetError) {
        guard gallery.size <= pfc_longest_byte_row else {
            throw DatasetError(
                .invalidOption, path: gallery.files[0].path,
                "has rows of \(gallery.size) numbers; a search in bytes takes at most \(pfc_longest_byte_row): use --float"
            )
        }
        (files, count, size, probeCount) = (gallery, gallery.count, gallery.size, probes.count)
        self.instructions = instructions ?? pfc_byte_instructions_best()
        pieceRowCount = GallerySearch.pieceRowCount(rowByteCount: size, byteCount: Self.pieceByteCount)
        let panel = GallerySearch.panel
        let panelCount = (probeCount + panel - 1) / panel
        panelByteCount = pfc_panel_byte_count(size)
        panels = .allocate(byteCount: panelCount * panelByteCount, alignment: 64)
        probeInverses = [Float](repeating: 0, count: panelCount * panel)
        codes = .allocate(capacity: min(pieceRowCount, count) * size)
        inverses = .allocate(capacity: min(pieceRowCount, count))
        let mine = UnsafeMutablePointer<Int8>.allocate(capacity: panel * size)
        defer { mine.deallocate() }
        for number in 0..<panelCount {
            let range = number * panel..<min(probeCount, (number + 1) * panel)
            try probeInverses.withUnsafeMutableBufferPointer { target throws(DatasetError) in
                try Self.read(probes, range, size, codes: mine, inverses: target.baseAddress! + number * panel)
            }
            pfc_panel_pack(mine, range.count, size, panels + number * panelByteCount, self.instructions)
        }
    }

    deinit {
        panels.deallocate()
        codes.deallocate()
        inverses.deallocate()
    }

    private static func read(
        _ file: EmbeddingRows, _ range: Range<Int>, _ size: Int, codes: UnsafeMutablePointer<Int8>,
        inverses: UnsafeMutablePointer<Float>
    ) throws(DatasetError) {
        // Where the lengths will be, the scales are before: a row whose scale is 0 has no direction.
        try file.bytes(range, codes: codes, scales: inverses)
        for row in 0..<range.count where inverses[row] == 0 { (codes + row * size).update(repeating: 0, count: size) }
        pfc_bytes_inverse_lengths(codes, range.count, size, inverses)
    }

    func load(_ rows: Range<Int>, threads: Int) throws(DatasetError) {
        first = rows.lowerBound
        let failures = Failures()
        let block = 4096
        ParallelBlocks(threads: threads).forEach((rows.count + block - 1) / block) { number, _ in
            let start = rows.lowerBound + number * block
            do throws(DatasetError) {
                try files.forEach(in: start..<min(rows.upperBound, start + block)) {
                    file, range, place throws(DatasetError) in
                    let row = number * block + place
                    try Self.read(file, range, size, codes: codes + row * size, inverses: inverses + row)
                }
            } catch { failures.add(number, error) }
        }
        if let failure = failures.first { throw failure }
    }

    func scores(panel: Int, rows: Range<Int>, into target: UnsafeMutablePointer<Float>) {
        let row = rows.lowerBound - first
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: rows.count * GallerySearch.panel) { products in
            pfc_panel_products(
                panels + panel * panelByteCount, codes + row * size, rows.count, size, products.baseAddress,
                instructions)
            probeInverses.withUnsafeBufferPointer {
                pfc_panel_cosines(
                    products.baseAddress, rows.count, inverses + row, $0.baseAddress! + panel * GallerySearch.panel,
                    target)
            }
        }
    }
}
