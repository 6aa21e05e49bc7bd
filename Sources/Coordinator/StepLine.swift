import OperatorStatus
import StepProtocol

/// The line of a step in `metrics.jsonl`. Of a skipped one the figures are missing.
struct StepLine: Encodable {
    var step: Int
    var loss: Double?
    /// The bits of the loss, to compare runs.
    var lossBits: String?
    var gradientNorm: Double?
    var learningRate: Float
    /// The values of the head; missing in a run in which they are the same in every step.
    var head: ClusterStatus.Head?
    var attempts: Int
    var workers: Int
    var seconds: Double
    /// Whether the step changed nothing because a value was not finite; missing if not.
    var skipped: Bool?

    init(_ report: StepReport, headVaries: Bool) {
        step = report.step
        head = headVaries ? ClusterStatus.Head(report.head) : nil
        learningRate = report.learningRate
        attempts = report.attempts
        workers = report.worldSize
        seconds = report.seconds
        loss = report.loss
        lossBits = report.loss.map { String($0.bitPattern, radix: 16) }
        gradientNorm = report.gradientNorm
        skipped = report.loss == nil ? true : nil
    }
}
