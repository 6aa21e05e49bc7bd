import ArgumentParser
import Foundation
import ProcessSupport

/// `coordinator norms`.
struct Norms: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how long the class centers are, as a histogram.",
        discussion: "Centers begin with a length of about 0.01·√D and grow as their classes are trained.")
    @Option(help: "How many bars.") var bins = 20
    @OptionGroup var connection: Connection

    /// The JSON that it prints.
    private struct Answer: Encodable {
        var count: Int
        /// Centers that are left out because a number of theirs is not finite.
        var notFinite: Int
        var least: Double
        var median: Double
        var mean: Double
        var largest: Double
        /// Bounds of the bars, one more than `counts`.
        var bounds: [Double]
        var counts: [Int]
    }

    func validate() throws {
        guard (1...1000).contains(bins) else { throw ValidationError("--bins \(bins) is not in 1...1000") }
    }

    func run() throws {
        let reader = try CenterReader(connection)
        // Numbers of single precision have norms below 10⁵⁰ in double precision, if they are finite.
        var (all, notFinite): ([Double], Int) = ([], 0)
        try reader.readAll { _, rows in
            let norms = norms(of: rows)
            all += norms.filter(\.isFinite)
            notFinite += norms.count { !$0.isFinite }
        }
        all.sort()
        if notFinite > 0 { connection.complain("\(notFinite) centers are not finite and are left out") }
        guard let least = all.first, let largest = all.last else { return }
        let width = (largest - least) / Double(bins)
        var counts = [Int](repeating: 0, count: bins)
        for norm in all { counts[width > 0 ? min(bins - 1, Int((norm - least) / width)) : 0] += 1 }
        let answer = Answer(
            count: all.count, notFinite: notFinite, least: least, median: all[all.count / 2],
            mean: all.reduce(0, +) / Double(all.count), largest: largest,
            bounds: (0...bins).map { least + width * Double($0) }, counts: counts)
        connection.print(answer) { Self.text(answer) }
    }

    private static func text(_ answer: Answer) -> String {
        let most = max(1, answer.counts.max() ?? 1)
        let bars = answer.counts.enumerated().map { index, count in
            let bar = String(repeating: "█", count: (count * 50 + most - 1) / most)
            let from = Units.fixed(answer.bounds[index], 4)
            return String(repeating: " ", count: max(0, 10 - from.count)) + "\(from)  \(bar) \(count)"
        }
        let summary =
            "\(answer.count) centers: \(Units.fixed(answer.least, 4)) to \(Units.fixed(answer.largest, 4)), median \(Units.fixed(answer.median, 4)), mean \(Units.fixed(answer.mean, 4))"
        return ([summary] + bars).joined(separator: "\n")
    }
}
