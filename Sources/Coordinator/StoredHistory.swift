import Foundation
package import Monitoring
import OperatorStatus

/// What an earlier coordinator has left of a run in `metrics.jsonl`, for the curves.
package enum StoredHistory {
    /// Lines of steps that are read: of more, some are left out evenly, so that a long run does not keep the start waiting.
    package static let lineLimit = 20_000
    /// A file up to this length is read whole.
    private static let wholeByteCount = 4 << 20
    /// Evaluations are looked for in so much of the end.
    private static let searchedByteCount = 64 << 20

    private struct Line: Decodable {
        var step: Int
        var loss: Double?
        var gradientNorm: Double?
        var learningRate: Double?
        var seconds: Double?
        var attempts: Int?
        var evaluation: String?
        var values: [String: Double]?
        var lost: Bool?
    }

    /// Appends the steps up to `committed` and the evaluations; nothing of a file that cannot be read.
    package static func read(_ path: String, committed: Int, into history: inout StepHistory) {
        guard let handle = FileHandle(forReadingAtPath: path) else { return }
        defer { try? handle.close() }
        try? read(LineFile(handle: handle), committed: committed, into: &history)
    }

    private static func read(_ file: LineFile, committed: Int, into history: inout StepHistory) throws {
        let end = try file.lineEnd(before: try file.byteCount)
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        func append(_ bytes: Data, steps: Bool, evaluations: Bool) {
            guard let line = try? decoder.decode(Line.self, from: bytes), line.step <= committed, line.lost != true
            else {
                return
            }
            if let name = line.evaluation {
                guard evaluations else { return }
                history.append(ClusterStatus.Evaluation(name: name, step: line.step, values: line.values ?? [:]))
            } else if steps {
                history.append(
                    StepFigures(
                        step: line.step, loss: line.loss, gradientNorm: line.gradientNorm,
                        learningRate: line.learningRate ?? .nan, seconds: line.seconds ?? .nan,
                        attempts: line.attempts ?? 1))
            }
        }
        if end <= wholeByteCount {
            let lines = try file.read(0..<end).split(separator: LineFile.newline)
            let stride = max(1, (lines.count + lineLimit - 1) / lineLimit)
            for (index, bytes) in lines.enumerated() {
                append(Data(bytes), steps: index % stride == 0, evaluations: true)
            }
            return
        }
        // Lines at even distances: where one begins is found from any place in the file.
        var position = 0
        for index in 0..<lineLimit {
            let start = max(position, end / lineLimit * index)
            guard let line = try file.line(from: start, isBeginning: start == position, before: end) else { break }
            position = line.range.upperBound
            append(line.bytes, steps: true, evaluations: false)
        }
        let searched = try file.lineEnd(before: max(0, end - searchedByteCount))
        try file.forEachLine(in: searched..<end, beginningWith: MetricsFile.evaluationBeginning) {
            append($0, steps: false, evaluations: true)
        }
    }
}
