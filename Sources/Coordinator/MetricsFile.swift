import Foundation
import StepProtocol
import Wire

/// Why the metrics cannot be written.
struct MetricsFileError: Error, CustomStringConvertible {
    var path: String
    var problem: String
    var description: String { "\(path) cannot be written: \(problem)" }
}

/// `metrics.jsonl` in the run's output directory: a line of JSON for every committed step and every evaluation.
struct MetricsFile {
    private let path: String
    private let handle: FileHandle

    /// Starts the file anew.
    ///
    /// - Throws: `MetricsFileError` if the directory or the file cannot be made.
    init(directory: String) throws {
        path = directory + "/metrics.jsonl"
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try Data().write(to: URL(fileURLWithPath: path))
            handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        } catch {
            throw MetricsFileError(path: path, problem: error.localizedDescription)
        }
    }

    /// Appends a committed step.
    func append(_ report: StepReport) throws { try append(line: StepLine(report)) }

    /// Appends an evaluation.
    func append(_ evaluation: Evaluation) throws {
        try append(line: EvaluationLine(step: evaluation.step, evaluation: evaluation.name, values: evaluation.values))
    }

    private func append(line: some Encodable) throws {
        do {
            var data = try StatusJSON.encode(line)
            data.append(0x0A)
            try handle.write(contentsOf: data)
        } catch {
            throw MetricsFileError(path: path, problem: error.localizedDescription)
        }
    }

    private struct StepLine: Encodable {
        var step: Int
        var loss: Double
        /// The bits of the loss, to compare runs.
        var lossBits: String
        var gradientNorm: Double
        var learningRate: Float
        var attempts: Int
        var workers: Int
        var seconds: Double

        init(_ report: StepReport) {
            step = report.step
            loss = report.loss
            lossBits = String(report.loss.bitPattern, radix: 16)
            gradientNorm = report.gradientNorm
            learningRate = report.learningRate
            attempts = report.attempts
            workers = report.worldSize
            seconds = report.seconds
        }
    }

    private struct EvaluationLine: Encodable {
        var step: Int
        var evaluation: String
        var values: [String: Double]
    }
}
