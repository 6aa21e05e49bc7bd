public import Cluster
public import Configuration

/// The values of the head in every step, as the configuration has them: stages, and `head` where there is none.
public struct HeadSchedule: Sendable, Hashable {
    /// What `head` says.
    public let usual: HeadValues
    private let stages: [Part]
    private let totalSteps: Int

    /// A stage, and its steps; none if it is shorter than half of one.
    private struct Part: Sendable, Hashable {
        var steps: Range<Int>
        var stage: RunConfiguration.Stage
    }

    /// A stage ends before the step that is `until` times the number of steps, rounded to the nearest whole one: a fraction that is
    /// written as a decimal counts as that decimal.
    ///
    /// - Parameter configuration: valid, with a known number of steps.
    public init(_ configuration: RunConfiguration, usual: HeadValues) {
        self.usual = usual
        totalSteps = configuration.totalSteps
        var first = 0
        stages = (configuration.schedule.stages ?? []).map { [totalSteps] stage in
            let end = stage.until.map { Int((Double(totalSteps) * $0).rounded()) } ?? totalSteps
            defer { first = end }
            return Part(steps: first..<max(first, end), stage: stage)
        }
    }

    /// The values of a step. What goes from a to b is a in the first step of its stage, b in the last, and
    /// a + (b − a)·k/(n − 1) in step k of n; all but the rate are rounded to single precision, as a number in the file is.
    public func values(at step: Int) -> HeadValues {
        var values = usual
        guard let part = stages.first(where: { $0.steps.contains(step) }) else { return values }
        for name in HeadValues.Name.allCases {
            guard let value = part.stage[name] else { continue }
            let (index, last) = (step - part.steps.lowerBound, part.steps.count - 1)
            let number =
                index == last
                ? value.to : value.from + (value.to - value.from) * (Double(index) / Double(last))
            values[name] = name.rounded(number)
        }
        return values
    }

    /// The largest fraction of the classes that takes part in any step.
    public var largestSampleRate: Double {
        let isCovered = stages.last.map { $0.steps.upperBound >= totalSteps } ?? false
        return stages.filter { !$0.steps.isEmpty }.reduce(isCovered ? 0 : usual.sampleRate) { largest, part in
            let value = part.stage.sampleRate
            return max(largest, value.map { max($0.from, $0.to) } ?? usual.sampleRate)
        }
    }

    /// Each stage in words, with its steps: `stage 1 of 2, steps 0 to 35: sample_rate 0.1, m2 0 to 0.5`.
    public var summaries: [String] { stages.indices.map(summary) }

    /// The stage that begins with a step, in words; nil if none does.
    public func summary(ofStageAt step: Int) -> String? {
        stages.firstIndex { $0.steps.first == step }.map(summary)
    }

    private func summary(of index: Int) -> String {
        let (steps, stage) = (stages[index].steps, stages[index].stage)
        let values = HeadValues.Name.allCases.compactMap { name in stage[name].map { "\(name.rawValue) \($0)" } }
        let begin = "stage \(index + 1) of \(stages.count), "
        guard let last = steps.last else { return begin + "no step: it is shorter than half of one" }
        return begin + "steps \(steps.lowerBound) to \(last): "
            + (values.isEmpty ? "as the head is configured" : values.joined(separator: ", "))
    }

    /// Whether every step has the values of `head`.
    public var isConstant: Bool { stages.isEmpty }
}

extension RunSetup {
    /// Whether the values of the head may be others in another step, with these changes by operators.
    package func headVaries(_ changes: [HeadChange]) -> Bool { !headSchedule.isConstant || !changes.isEmpty }
}
