/// What an operator wants the learning rate to be, from some step on.
///
/// In text: `schedule`, a factor of the schedule as `*0.1`, or the rate itself as `0.05`.
public enum LearningRateRule: Sendable, Hashable, Codable {
    /// What the configuration's schedule says.
    case schedule
    /// So many times what the schedule says.
    case scaled(Float)
    /// The same in every step.
    case fixed(Float)

    /// Why a text is no rule.
    public struct Invalid: Error, Sendable, Hashable, CustomStringConvertible {
        public var description: String
    }

    /// - Throws: `Invalid` if it is neither the word nor a finite number from 0 up.
    public init(_ text: String) throws(Invalid) {
        if text == "schedule" {
            self = .schedule
            return
        }
        let isFactor = text.hasPrefix("*")
        let digits = isFactor ? text.dropFirst() : text[...]
        guard let value: Float = ShortNumber.number(digits) else {
            throw Invalid(
                description:
                    "\"\(text)\" is no learning rate: give a number, a factor of the schedule as *0.1, or schedule")
        }
        guard value.isFinite, value >= 0 else {
            let name = isFactor ? "a factor" : "a learning rate"
            throw Invalid(description: "\(name) of \(digits) cannot be used: it must be a finite number from 0 up")
        }
        self = isFactor ? .scaled(value) : .fixed(value)
    }

    /// The rate of a step whose rate in the schedule is `scheduled`: finite, as the product of finite numbers need not be.
    public func rate(scheduled: Float) -> Float {
        switch self {
        case .schedule: scheduled
        case .scaled(let factor): min(scheduled * factor, .greatestFiniteMagnitude)
        case .fixed(let rate): rate
        }
    }
}

extension LearningRateRule: CustomStringConvertible {
    /// The text that it can be made from again.
    public var description: String {
        switch self {
        case .schedule: "schedule"
        case .scaled(let factor): "*\(factor)"
        case .fixed(let rate): "\(rate)"
        }
    }
}

/// A rule and the first step that it holds for, until the next one.
public struct LearningRateChange: Sendable, Hashable, Codable {
    /// Nil while it waits for a step that has not begun.
    public var fromStep: Int?
    public var rule: LearningRateRule

    public init(fromStep: Int?, rule: LearningRateRule) {
        self.fromStep = fromStep
        self.rule = rule
    }
}

extension [LearningRateChange] {
    /// The rule of a step: that of the last change that has begun by then.
    public func rule(of step: Int) -> LearningRateRule {
        last { change in change.fromStep.map { $0 <= step } ?? false }?.rule ?? .schedule
    }
}
