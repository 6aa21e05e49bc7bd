import Foundation

/// What PyTorch's AdamW gives in float64: the numbers of `Tests/Golden/adamw.txt`, made by `adamw.py` beside it.
public struct AdamWGolden {
    public static let steps = 50
    public static let learningRate: Float = 1 / 128
    public static let weightDecay: Float = 0.0625

    private let lines: [String: [Double]]

    public init(_ file: String = #filePath) throws {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: folder.appendingPathComponent("Golden/adamw.txt"), encoding: .utf8)
        var lines: [String: [Double]] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            lines[String(words[0])] = words.dropFirst().compactMap { Double($0) }
        }
        self.lines = lines
    }

    /// The numbers of one line; empty if there is none.
    public subscript(name: String) -> [Double] { lines[name] ?? [] }

    /// The inputs: a number in [-0.5, 0.5) for a place, of several kinds of input.
    public static func number(_ place: Int, kind: Int) -> Float {
        var x = UInt32(truncatingIfNeeded: place &* 2_654_435_761 &+ kind &* 40503 &+ 12345)
        x ^= x >> 16
        x = x &* 0x45D9F3B
        x ^= x >> 16
        return Float(x >> 12) / Float(1 << 20) - 0.5
    }

    public static func numbers(_ count: Int, kind: Int) -> [Float] { (0..<count).map { number($0, kind: kind) } }
}
