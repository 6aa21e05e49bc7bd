import Foundation
import TestSupport
import Verification

/// What NumPy and scikit-learn give: `Tests/Golden/evaluation.txt`, made by `evaluation.py` beside it.
struct GoldenFigures {
    static let size = 8
    private let lines: [String: [Double?]]

    init(_ file: String = #filePath) throws {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: folder.appendingPathComponent("Golden/evaluation.txt"), encoding: .utf8)
        var lines: [String: [Double?]] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            lines[String(words[0])] = words.dropFirst().map { Double($0) }
        }
        self.lines = lines
    }

    subscript(name: String) -> [Double?] { lines[name] ?? [] }

    /// Whether `values` are those of a line.
    func agrees(_ name: String, _ values: [Double?], within limit: Double = 1e-9) -> Bool {
        let expected = self[name]
        return !expected.isEmpty && expected.count == values.count
            && zip(expected, values).allSatisfy { pair in
                if let a = pair.0, let b = pair.1 { abs(a - b) <= limit } else { pair.0 == nil && pair.1 == nil }
            }
    }

    /// `features` of the script.
    static func features(_ count: Int, kind: Int) -> [Float] {
        let base = AdamWGolden.numbers(30 * size, kind: 20)
        let own = AdamWGolden.numbers(count * size, kind: kind)
        return own.indices.map { Float(0.7 * Double(base[$0 / size % 30 * size + $0 % size]) + Double(own[$0])) }
    }
}
