/// A curve in one line of text.
public enum Sparkline {
    private static let bars: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

    /// The values in `width` characters: means of neighbours if there are more, the scale from the least to the largest. A
    /// place without a finite value is blank.
    public static func text(_ values: [Float?], width: Int) -> String {
        guard width > 0, !values.isEmpty else { return "" }
        let count = min(width, values.count)
        let means = (0..<count).map { place -> Double? in
            let part = values[values.count * place / count..<values.count * (place + 1) / count]
            let known = part.compactMap { $0.flatMap { $0.isFinite ? Double($0) : nil } }
            return known.isEmpty ? nil : known.reduce(0, +) / Double(known.count)
        }
        let known = means.compactMap(\.self)
        guard let least = known.min(), let largest = known.max() else { return String(repeating: " ", count: count) }
        return String(
            means.map { mean in
                guard let mean else { return " " }
                guard largest > least else { return bars[0] }
                return bars[min(bars.count - 1, Int((mean - least) / (largest - least) * Double(bars.count)))]
            })
    }
}
