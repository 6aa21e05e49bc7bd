/// A complete snapshot file in a shard's directory.
public struct SnapshotReference: Sendable, Hashable, Codable {
    /// Its name in the folder `snapshots`.
    public var file: String
    public var shape: SliceShape
    /// Number of class operations that its rows have seen.
    public var classVersion: Int
    /// The steps that its oldest and its newest piece are of. -1: before the first step. A slice without rows has the
    /// step that its writer was given.
    public var minStep: Int
    public var maxStep: Int
    /// Length of the file.
    public var byteCount: Int
}

/// Size of a slice, and how it is cut into pieces for copying.
public struct SliceShape: Sendable, Hashable, Codable {
    /// Rows of class centers, or numbers of the backbone.
    public var rowCount: Int
    /// Floats per row: the embedding size, or 1 for the backbone.
    public var width: Int
    /// Rows of every piece but the last.
    public var chunkRows: Int

    public init(rowCount: Int, width: Int, chunkRows: Int) {
        self.rowCount = rowCount
        self.width = width
        self.chunkRows = chunkRows
    }

    public var chunkCount: Int { (rowCount + chunkRows - 1) / chunkRows }

    /// The rows of piece `index`, a number in 0..<chunkCount.
    public func rows(ofChunk index: Int) -> Range<Int> {
        index * chunkRows..<min((index + 1) * chunkRows, rowCount)
    }

    /// Length of the rows in bytes; momentum is as long.
    public var byteCount: Int { rowCount * width * 4 }

    /// Whether the numbers can be those of a slice: nothing else is multiplied.
    var isPossible: Bool {
        guard rowCount >= 0, (1...1 << 24).contains(width), chunkRows >= 1, chunkRows <= 1 << 40 else { return false }
        return rowCount <= (1 << 46) / width
    }

    /// Where the rows of piece `index` lie among all rows, in bytes.
    func bytes(ofChunk index: Int) -> Range<Int> {
        let rows = rows(ofChunk: index)
        return rows.lowerBound * width * 4..<rows.upperBound * width * 4
    }
}
