import ClusterStatus
import Foundation
import Monitoring

/// What an earlier coordinator has left of a run in `metrics.jsonl`, for the curves.
enum StoredHistory {
    /// Lines of steps that are read: of more, some are left out evenly, so that a long run does not keep the start waiting.
    static let lineLimit = 20_000

    private struct Line: Decodable {
        var step: Int
        var loss: Double?
        var gradientNorm: Double?
        var learningRate: Double?
        var seconds: Double?
        var attempts: Int?
        var evaluation: String?
        var values: [String: Double]?
    }

    /// Appends the steps up to `committed` and the evaluations; nothing of a file that cannot be read.
    static func read(_ path: String, committed: Int, into history: inout StepHistory) {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else { return }
        let lines = data.split(separator: 0x0A)
        let stride = (lines.count + lineLimit - 1) / lineLimit
        let mark = Data(#""evaluation":"#.utf8)
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        for (index, bytes) in lines.enumerated() {
            guard index % stride == 0 || bytes.range(of: mark) != nil,
                let line = try? decoder.decode(Line.self, from: bytes), line.step <= committed
            else { continue }
            if let name = line.evaluation {
                history.append(ClusterStatus.Evaluation(name: name, step: line.step, values: line.values ?? [:]))
            } else {
                history.append(
                    StepFigures(
                        step: line.step, loss: line.loss, gradientNorm: line.gradientNorm,
                        learningRate: line.learningRate ?? .nan, seconds: line.seconds ?? .nan,
                        attempts: line.attempts ?? 1))
            }
        }
    }
}
