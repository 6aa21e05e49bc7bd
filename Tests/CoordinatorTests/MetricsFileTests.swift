import Cluster
import Coordinator
import Determinism
import Foundation
import Monitoring
import OperatorStatus
import StepProtocol
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct MetricsFileTests {
    private struct Line: Decodable {
        var step: Int
        var loss: Double?
        var evaluation: String?
        var from: Int?
        var lost: Bool?
    }

    private func lines(_ path: String) throws -> [Line] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
    }

    /// `step`, `e` and the step for an evaluation, `lost` and the step.
    private func names(_ path: String) throws -> [String] {
        try lines(path).map { line in
            if line.lost == true { return line.from.map { "lost \($0)-\(line.step)" } ?? "lost \(line.step)" }
            return line.evaluation == nil ? "\(line.step)" : "e\(line.step)"
        }
    }

    private func report(_ step: Int) -> StepReport {
        StepReport(
            step: step, loss: Double(step) / 7,
            head: HeadValues(sampleRate: 0.1, m1: 1, m2: 0.5, m3: 0, scale: 64))
    }

    private func evaluation(_ step: Int) -> ClusterStatus.Evaluation {
        ClusterStatus.Evaluation(name: "pairs", step: step, values: ["accuracy": 0.5])
    }

    /// Steps, evaluations that come late, goings back and restarts, held against a list.
    @Test func theFileIsTheListOfWhatWasCommitted() throws {
        let seed = UInt64.random(in: 0...1_000_000)
        print("seed \(seed)")
        var random = KeyedRandom(seed: seed, purpose: .centerInitialization, 1)
        let folder = try TemporaryFolder()
        var file = try MetricsFile(directory: folder.path, isContinued: false)
        var expected: [(step: Int, isStep: Bool)] = []
        var next = 0
        // Long enough for a search.
        for step in 0..<800 {
            try file.append(report(step))
            expected.append((step, true))
            next += 1
        }
        for _ in 0..<1000 {
            switch random.below(1000) {
            case 0..<950:
                try file.append(report(next))
                expected.append((next, true))
                next += 1
            case 950..<980 where next > 3:
                let step = next - 1 - Int(random.below(3))
                try file.append(evaluation(step))
                expected.append((step, false))
            case 980..<990:
                // Back by a little, or by a lot.
                let back = random.below(4) == 0 ? UInt64(next - 650) : 4
                next -= Int(random.below(back + 1))
                try file.cut(after: next - 1)
                let place = (expected.lastIndex { $0.isStep && $0.step < next } ?? -1) + 1
                expected = Array(expected[..<place]) + expected[place...].filter { !$0.isStep && $0.step < next }
            default: file = try MetricsFile(directory: folder.path, isContinued: true)
            }
            try #require(file.lastStep == next - 1, "seed \(seed)")
        }
        let found = try names(file.path)
        #expect(found == expected.map { ($0.isStep ? "" : "e") + "\($0.step)" }, "seed \(seed)")
    }

    /// A power cut takes the last lines, half of one too; the shards had the steps.
    @Test func aGapIsStated() throws {
        let folder = try TemporaryFolder()
        var file = try MetricsFile(directory: folder.path, isContinued: false)
        for step in 0..<5 { try file.append(report(step)) }
        let text = try String(contentsOfFile: file.path, encoding: .utf8)
        let end = try #require(text.range(of: "\"step\":3")?.lowerBound)
        try String(text[..<end]).write(toFile: file.path, atomically: false, encoding: .utf8)
        file = try MetricsFile(directory: folder.path, isContinued: true)
        #expect(file.lastStep == 2)
        #expect(try file.append(report(6)) == 3..<6)
        #expect(try file.append(report(7)).isEmpty)
        #expect(try names(file.path) == ["0", "1", "2", "lost 3", "lost 4", "lost 5", "6", "7"])
        // At the end of a run nothing more is appended.
        file = try MetricsFile(directory: folder.path, isContinued: true)
        #expect(try file.fill(upTo: 9) == 8..<10)
        #expect(try names(file.path).suffix(3) == ["7", "lost 8", "lost 9"])
        // What is done again takes the place of what was lost.
        try file.append(report(4))
        #expect(try names(file.path) == ["0", "1", "2", "lost 3", "4"])
    }

    /// A run that begins with a checkpoint has no gap before it, and a long gap few lines.
    @Test func whatWasBeforeTheBeginningIsNoGap() throws {
        let folder = try TemporaryFolder()
        var file = try MetricsFile(directory: folder.path, isContinued: false, origin: 499)
        #expect(try file.append(report(500)).isEmpty)
        #expect(try file.fill(upTo: 1_000_000).count == 999_500)
        let found = try names(file.path)
        #expect(found.count < 20_000)
        #expect(found[0] == "500" && found[1].hasPrefix("lost 501-") && found.last == "lost 1000000")
    }

    /// Of a long file a bounded number of lines is read for the curves, evaluations too.
    @Test func theHistoryOfALongRunIsBounded() throws {
        let folder = try TemporaryFolder()
        let count = 60_000
        var text = ""
        for step in 0..<count {
            text +=
                #"{"attempts":1,"learningRate":0.1,"loss":\#(step),"lossBits":"0","seconds":0.1,"step":\#(step),"workers":1}"#
                + "\n"
            if step % 10_000 == 5000 {
                text += #"{"evaluation":"pairs","step":\#(step),"values":{"accuracy":0.5}}"# + "\n"
            }
        }
        let path = try folder.write(Array(text.utf8), to: "metrics.jsonl")
        var history = StepHistory(totalSteps: count, batchSize: 1)
        StoredHistory.read(path, committed: count - 1, into: &history)
        let curve = history.history(limit: 240)
        #expect(curve.evaluations.count == 6)
        let losses = curve.loss.compactMap(\.self)
        #expect(losses.count >= 200)
        #expect(zip(losses, losses.dropFirst()).allSatisfy { $0 < $1 })
        #expect(try MetricsFile(directory: folder.path, isContinued: true).lastStep == count - 1)
    }
}
