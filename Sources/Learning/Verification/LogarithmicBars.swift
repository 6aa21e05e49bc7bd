public import Dataset
internal import Foundation

/// A picture of two small numbers for each of many names, on a logarithmic scale: errors before and after something was done.
public struct LogarithmicBars: Sendable {
    public struct Row: Sendable {
        public var name: String
        /// Positive numbers; what is smaller than the axis begins with is drawn there.
        public var before: Double
        public var after: Double

        public init(_ name: String, before: Double, after: Double) {
            self.name = name
            self.before = before
            self.after = after
        }
    }

    private let title: String
    private let rows: [Row]

    public init(title: String, rows: [Row]) {
        self.title = title
        self.rows = rows
    }

    /// Writes it as SVG.
    ///
    /// - Throws: `DatasetError` (`unwritableFile`) if the file cannot be written.
    public func write(to path: String) throws(DatasetError) {
        let (left, width, top, step) = (330.0, 560.0, 56.0, 15.0)
        let values = rows.flatMap { [$0.before, $0.after] }.filter { $0 > 0 }
        let low = floor(log10(max(values.min() ?? 1e-6, 1e-9)))
        let high = max(low + 1, ceil(log10(max(values.max() ?? 1, 1e-9))))
        var drawing = Drawing(width: Int(left + width) + 30, height: Int(top + step * Double(rows.count)) + 20)
        let bottom = top + step * Double(rows.count)
        func x(_ value: Double) -> Double {
            left + width * (max(low, log10(max(value, 1e-300))) - low) / (high - low)
        }
        drawing.text(title, x: 16, y: 22, size: 15)
        for power in stride(from: low, through: high, by: 1) {
            let at = x(pow(10, power))
            drawing.line((at, top - 8), (at, bottom), .gray)
            drawing.text("1e\(Int(power))", x: at, y: top - 12, size: 11, anchor: .middle)
        }
        for (index, row) in rows.enumerated() {
            let y = top + step * (Double(index) + 0.5)
            let name = row.name.count > 48 ? "…" + row.name.suffix(47) : row.name
            drawing.text(name, x: left - 8, y: y + 4, size: 11, anchor: .end)
            drawing.line((left, y - 3), (x(row.before), y - 3), .gray, thickness: 5)
            drawing.line((left, y + 3), (x(row.after), y + 3), .blue, thickness: 5)
        }
        try drawing.write(to: path)
    }
}
