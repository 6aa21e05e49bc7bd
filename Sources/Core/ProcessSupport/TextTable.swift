/// A table for a terminal: columns as wide as their widest cell, numbers to the right.
public struct TextTable: Sendable {
    private let columns: [String]
    private var rows: [[String]] = []

    public init(_ columns: [String]) { self.columns = columns }

    /// Appends a row of as many cells as there are columns. What a terminal would obey is written out.
    public mutating func add(_ cells: [String]) {
        precondition(
            cells.count == columns.count, "a row of \(cells.count) cells in a table of \(columns.count) columns")
        rows.append(cells.map(\.printable))
    }

    /// The lines of the table, without a final newline.
    public func render() -> String {
        let all = [columns] + rows
        let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        let numeric = columns.indices.map { column in
            !rows.isEmpty && rows.allSatisfy { $0[column].first.map { $0.isNumber || $0 == "-" || $0 == "–" } ?? true }
        }
        return all.map { row in
            var line = row.indices.map { column in
                let pad = String(repeating: " ", count: widths[column] - row[column].count)
                return numeric[column] ? pad + row[column] : row[column] + pad
            }.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
}
