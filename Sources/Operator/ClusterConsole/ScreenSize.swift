/// Columns and rows of a terminal.
public struct ScreenSize: Sendable, Hashable {
    public var columns: Int
    public var rows: Int

    /// - Parameters: at least 1 each; less counts as 1.
    public init(columns: Int, rows: Int) {
        self.columns = max(1, columns)
        self.rows = max(1, rows)
    }
}
