/// What an operator wants values of the head to be, from some step on.
///
/// In text: `sample_rate=0.3 m2=0.5`, each value a number, or `schedule` for what the configuration has.
public struct HeadOrder: Sendable, Hashable {
    /// What a value is to be.
    public enum Rule: Sendable, Hashable {
        /// What the configuration says: its stages, or `head:`.
        case schedule
        /// The same in every step.
        case fixed(Double)
    }

    /// Values that are not named stay under the order before, or the configuration.
    public private(set) var rules: [HeadValues.Name: Rule]

    /// Why a text is no order.
    public struct Invalid: Error, Sendable, Hashable, CustomStringConvertible {
        public var description: String
    }

    /// - Throws: `Invalid` if a name or a number is not possible, or nothing is named.
    public init(_ text: String) throws(Invalid) {
        rules = [:]
        for word in text.split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2 else { throw Invalid(description: "\"\(word)\" is not of the form name=value") }
            self = merging(try HeadOrder(name: parts[0], value: parts[1]))
        }
        if rules.isEmpty { throw Invalid(description: "no value of the head is named") }
    }

    /// An order of one value.
    ///
    /// - Throws: `Invalid` if there is no such value, or the text is neither the word nor a number that is allowed.
    public init(name: String, value text: String) throws(Invalid) {
        guard let name = HeadValues.Name(rawValue: name) else {
            let known = HeadValues.Name.allCases.map(\.rawValue).joined(separator: ", ")
            throw Invalid(description: "the head has no \"\(name)\" that can be set: it has \(known)")
        }
        if text == "schedule" {
            rules = [name: .schedule]
            return
        }
        guard let number: Double = ShortNumber.number(text) else {
            throw Invalid(
                description: "\"\(text)\" is no \(name.rawValue): give a number, \(name.allowed), or schedule")
        }
        let value = name.rounded(number) + 0  // of -0 too
        guard name.allows(value) else {
            throw Invalid(description: "\(name.rawValue)=\(text) cannot be used: \(name.allowed) is allowed")
        }
        rules = [name: .fixed(value)]
    }

    /// This order, then a later one.
    public func merging(_ later: HeadOrder) -> HeadOrder {
        var merged = self
        merged.rules.merge(later.rules) { $1 }
        return merged
    }

    /// Whether it says of everything in the other one the same.
    public func contains(_ other: HeadOrder) -> Bool { other.rules.allSatisfy { rules[$0.key] == $0.value } }

    /// What this order says of values that the other one does not name; nil if that is nothing.
    public func without(_ other: HeadOrder) -> HeadOrder? { filter { name, _ in other.rules[name] == nil } }

    /// Some of its values; nil if there are none.
    func filter(_ isKept: (HeadValues.Name, Rule) -> Bool) -> HeadOrder? {
        var rest = self
        rest.rules = rules.filter { isKept($0.key, $0.value) }
        return rest.rules.isEmpty ? nil : rest
    }
}

extension HeadOrder: CustomStringConvertible {
    /// The text that it can be made from again.
    public var description: String {
        rules.sorted { $0.key < $1.key }.map { name, rule in
            switch rule {
            case .schedule: "\(name.rawValue)=schedule"
            case .fixed(let value): "\(name.rawValue)=\(name.text(value))"
            }
        }.joined(separator: " ")
    }
}

extension HeadOrder: Codable {
    public init(from decoder: any Decoder) throws {
        self = try HeadOrder(decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// An order and the first step that it holds for; what it does not name stays as it was.
public struct HeadChange: Sendable, Hashable, Codable {
    /// Nil while it waits for a step that has not begun.
    public var fromStep: Int?
    public var order: HeadOrder

    public init(fromStep: Int?, order: HeadOrder) {
        self.fromStep = fromStep
        self.order = order
    }
}

extension [HeadChange] {
    /// The values of a step for which the configuration has `scheduled`.
    public func values(of step: Int, scheduled: HeadValues) -> HeadValues {
        var values = scheduled
        for change in self where change.fromStep.map({ $0 <= step }) ?? false {
            for (name, rule) in change.order.rules {
                switch rule {
                case .schedule: values[name] = scheduled[name]
                case .fixed(let value): values[name] = value
                }
            }
        }
        return values
    }

    /// What operators have set that holds in a step, or waits for one that has not begun: the values that were set in one step
    /// together, and none that is set to something else, or left to the configuration again, by then.
    public func inForce(at step: Int) -> [HeadChange] {
        var since: [HeadValues.Name: Int] = [:]
        let begun = filter { $0.fromStep.map { $0 <= step } ?? false }
        for change in begun { for name in change.order.rules.keys { since[name] = change.fromStep } }
        let present = begun.compactMap { change -> HeadChange? in
            let order = change.order.filter { name, rule in since[name] == change.fromStep && rule != .schedule }
            return order.map { HeadChange(fromStep: change.fromStep, order: $0) }
        }
        return present + filter { $0.fromStep == nil }
    }

    /// The change that waits for its step.
    public var waiting: HeadOrder? { last { $0.fromStep == nil }?.order }
}
