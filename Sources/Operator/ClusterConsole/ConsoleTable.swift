internal import ProcessSupport

/// A table that leaves out the columns that matter least where the screen is too narrow for all.
struct ConsoleTable {
    struct Column {
        var title: String
        /// Numbers stand to the right.
        var isNumber = true
        /// Columns of a higher rank go first.
        var rank = 0
    }

    let columns: [Column]
    private var rows: [[(text: String, style: ConsoleStyle)]] = []

    init(_ columns: [Column]) { self.columns = columns }

    /// Appends a row of as many cells as there are columns.
    mutating func add(_ cells: [(text: String, style: ConsoleStyle)]) { rows.append(cells) }

    /// Heading and rows in at most so many columns of the screen, as far as leaving out helps.
    func lines(columns limit: Int) -> [ConsoleLine] {
        let widths = columns.indices.map { column in
            max(columns[column].title.columns, rows.map { $0[column].text.printable.columns }.max() ?? 0)
        }
        var shown = Array(columns.indices)
        while shown.count > 1, shown.reduce(2 * (shown.count - 1), { $0 + widths[$1] }) > limit {
            guard let last = shown.max(by: { columns[$0].rank < columns[$1].rank }) else { break }
            shown.removeAll { $0 == last }
        }
        func line(_ cells: [(text: String, style: ConsoleStyle)]) -> ConsoleLine {
            var line = ConsoleLine()
            for (index, column) in shown.enumerated() {
                if index > 0 { line.add("  ") }
                let (text, style) = cells[column]
                let blank = String(repeating: " ", count: max(0, widths[column] - text.printable.columns))
                if columns[column].isNumber { line.add(blank) }
                line.add(text, style)
                if !columns[column].isNumber && index < shown.count - 1 { line.add(blank) }
            }
            return line
        }
        return [line(columns.map { ($0.title, .faint) })] + rows.map(line)
    }
}
