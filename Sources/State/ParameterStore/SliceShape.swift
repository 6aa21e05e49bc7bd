internal import Cluster

/// Size of a slice, how its numbers are kept, and how it is cut into pieces for copying.
public struct SliceShape: Sendable, Hashable, Codable {
    /// Rows of class centers, or numbers of the backbone.
    public var rowCount: Int
    /// Numbers per row: the embedding size, or 1 for the backbone.
    public var width: Int
    /// Rows of every piece but the last.
    public var chunkRows: Int
    /// How the planes are kept; the values of the backbone are always `f32`.
    public var format: TableFormat

    public init(rowCount: Int, width: Int, chunkRows: Int, format: TableFormat = .f32) {
        self.rowCount = rowCount
        self.width = width
        self.chunkRows = chunkRows
        self.format = format
    }

    public var chunkCount: Int { (rowCount + chunkRows - 1) / chunkRows }

    /// The rows of piece `index`, a number in 0..<chunkCount.
    public func rows(ofChunk index: Int) -> Range<Int> {
        index * chunkRows..<min((index + 1) * chunkRows, rowCount)
    }

    /// Lengths of all rows in each plane, in bytes.
    public var byteCounts: [Int] { format.planes.map { rowCount * $0.byteCount(width: width) } }

    /// Where the rows of piece `index` lie among all rows of each plane, in bytes.
    public func bytes(ofChunk index: Int) -> [Range<Int>] {
        let rows = rows(ofChunk: index)
        return format.planes.map { plane in
            let size = plane.byteCount(width: width)
            return rows.lowerBound * size..<rows.upperBound * size
        }
    }

    /// Whether a slice of `chunkCount` pieces has one that is as it was before `step`: one of those that are known, or one that came with
    /// classes since. A slice without rows is not behind anything; one of which nothing is said is.
    ///
    /// - Parameter steps: the step that each piece is as of.
    public static func isBehind(_ step: Int, pieces steps: [Int]?, chunkCount: Int) -> Bool {
        guard let steps else { return true }
        return steps.contains { $0 < step } || !steps.isEmpty && steps.count < chunkCount
    }

    /// Whether the numbers can be those of a slice: nothing else is multiplied.
    var isPossible: Bool {
        guard format.isPossible, rowCount >= 0, (1...1 << 24).contains(width), chunkRows >= 1, chunkRows <= 1 << 40
        else { return false }
        return rowCount <= (1 << 46) / width
    }

    /// Whether it can be the shape of `slice`: the values of the backbone are f32, and what lies beside them are numbers of their own.
    func isPossible(of slice: SliceName) -> Bool {
        guard isPossible else { return false }
        return !slice.isDense
            || format.rows == .f32 && format.state.allSatisfy { $0.format == .f32 || $0.format == .bf16 }
    }
}
