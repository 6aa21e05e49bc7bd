/// What an operator wants the learning rate to be, from some step on.
///
/// In text: `schedule`, a factor of the schedule as `*0.1`, or the rate itself as `0.05`.
public enum LearningRateRule: Sendable, Hashable {
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
        self = isFactor ? .scaled(value) : .fixed(value)
        try check()
    }

    private func check() throws(Invalid) {
        let (name, value): (String, Float) =
            switch self {
            case .schedule: ("", 0)
            case .scaled(let factor): ("a factor", factor)
            case .fixed(let rate): ("a learning rate", rate)
            }
        guard value.isFinite, value >= 0 else {
            throw Invalid(description: "\(name) of \(value) cannot be used: it must be a finite number from 0 up")
        }
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

/// As Swift writes an enumeration: `{"scaled":{"_0":0.1}}`. What is read is checked as a text is.
extension LearningRateRule: Codable {
    private enum Written: Codable {
        case schedule
        case scaled(Float)
        case fixed(Float)
    }

    public init(from decoder: any Decoder) throws {
        switch try Written(from: decoder) {
        case .schedule: self = .schedule
        case .scaled(let factor): self = .scaled(factor)
        case .fixed(let rate): self = .fixed(rate)
        }
        do { try check() } catch {
            throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "\(error)"))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        let written: Written =
            switch self {
            case .schedule: .schedule
            case .scaled(let factor): .scaled(factor)
            case .fixed(let rate): .fixed(rate)
            }
        try written.encode(to: encoder)
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
