internal import Dataset
internal import Foundation

/// Probes, and rows of a gallery that come to memory piece by piece: the cosines of the ones with the others.
///
/// Probes are taken in panels of 64. A cosine depends on its two rows and its place alone, never on threads.
protocol GalleryScores: Sendable {
    /// Rows of the gallery.
    var count: Int { get }
    var probeCount: Int { get }
    /// Rows that are in memory at a time, a multiple of `GallerySearch.tile`.
    var pieceRowCount: Int { get }

    /// Brings rows to memory, in the place of those before.
    ///
    /// - Throws: `DatasetError` if they cannot be read or a number is not finite.
    func load(_ rows: Range<Int>, threads: Int) throws(DatasetError)

    /// Cosines [rows, 64] of loaded rows with a panel's probes. Those of probes that are missing in the last panel have no meaning.
    func scores(panel: Int, rows: Range<Int>, into target: UnsafeMutablePointer<Float>)
}

/// The rows of one file after another.
struct RowFiles: Sendable {
    let files: [EmbeddingRows]
    /// The first row of each file, and the number of all.
    private let starts: [Int]

    var count: Int { starts[files.count] }
    /// D.
    var size: Int { files[0].size }

    /// - Throws: `DatasetError` if rows are not of one length.
    init(_ files: [EmbeddingRows]) throws(DatasetError) {
        precondition(!files.isEmpty, "no files")
        for file in files.dropFirst() where file.size != files[0].size {
            throw DatasetError(
                .unlikely, path: file.path,
                "has rows of \(file.size) numbers, and \(files[0].path) has rows of \(files[0].size)")
        }
        self.files = files
        starts = files.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
    }

    /// Gives parts of `range`, each of one file: the rows there, and the place of the first of them in `range`.
    func forEach(
        in range: Range<Int>, _ body: (EmbeddingRows, Range<Int>, _ place: Int) throws(DatasetError) -> Void
    ) throws(DatasetError) {
        for (file, start) in zip(files, starts) {
            let part = range.clamped(to: start..<start + file.count)
            if part.isEmpty { continue }
            try body(file, part.lowerBound - start..<part.upperBound - start, part.lowerBound - range.lowerBound)
        }
    }
}
