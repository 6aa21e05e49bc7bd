/// How long a worker takes for a micro-batch, from what it reports with each step.
struct WorkerPace: Sendable {
    /// Mean of the last steps, the newest counting most; nil until enough of them were measured.
    var secondsPerMicroBatch: Double? { count >= Self.provenSteps ? mean : nil }
    /// Steps that were measured.
    private(set) var count = 0
    private var mean = 0.0

    /// Steps before a worker's pace is believed: the first ones include what is done once.
    static let provenSteps = 3
    /// Anything else is no measurement: peers say what they like.
    private static let believed = 1e-9...1e9
    private static let weight = 0.25

    /// Notes a step. A worker that does not say what it computed for, or computed nothing, shows nothing.
    mutating func note(_ result: StepResult) {
        guard !result.microBatches.isEmpty else { return }
        let seconds = result.backboneSeconds / Double(result.microBatches.count)
        guard Self.believed.contains(seconds) else { return }
        mean = count == 0 ? seconds : mean + Self.weight * (seconds - mean)
        // What is done once, in the first step, is not part of the pace.
        if count == 1 { mean = seconds }
        count += 1
    }
}
