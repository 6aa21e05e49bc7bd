public import Cluster

extension RunConfiguration {
    /// Values of the head in a part of the run. Those that it does not name are what `head` has.
    public struct Stage: Codable, Sendable, Hashable {
        /// Where it ends, as a fraction of the run's steps; nil: with the run.
        public var until: Double?
        public var sampleRate: StageValue?
        public var m1: StageValue?
        public var m2: StageValue?
        public var m3: StageValue?
        public var scale: StageValue?
        public var interclassFilter: StageValue?

        public init() {}

        /// One that has every key.
        static let withEveryKey: Stage = {
            var stage = Stage()
            stage.until = 1
            let value = StageValue(from: 1, to: 1)
            (stage.sampleRate, stage.m1, stage.m2, stage.m3) = (value, value, value, value)
            (stage.scale, stage.interclassFilter) = (value, value)
            return stage
        }()

        public subscript(name: HeadValues.Name) -> StageValue? {
            switch name {
            case .sampleRate: sampleRate
            case .m1: m1
            case .m2: m2
            case .m3: m3
            case .scale: scale
            case .interclassFilter: interclassFilter
            }
        }
    }

    /// A number for the whole stage, or two that it goes between on a straight line: `0.5`, `0 to 0.5`.
    public struct StageValue: Sendable, Hashable {
        public var from: Double
        public var to: Double

        public init(from: Double, to: Double) { (self.from, self.to) = (from, to) }

        /// - Throws: a text that says what is wrong with it.
        init(_ text: String) throws(DecimalText.Problem) {
            let words = text.split(separator: " ")
            guard words.count == 1 || words.count == 3 && words[1] == "to" else { throw DecimalText.Problem() }
            let ends = try words.filter { $0 != "to" }.map { (word) throws(DecimalText.Problem) in
                try DecimalText(String(word)).double(isSingle: false)
            }
            guard let first = ends.first, let last = ends.last, words.count == 1 || ends.count == 2 else {
                throw DecimalText.Problem()
            }
            (from, to) = (first, last)
        }
    }

    /// Checks the stages, each key by its place: `schedule.stages[0].until`.
    func validateStages() throws(ConfigurationError) {
        func require(_ valid: Bool, _ key: String, _ problem: @autoclosure () -> String) throws(ConfigurationError) {
            if !valid { throw ConfigurationError(key: key, problem: problem()) }
        }
        let stages = schedule.stages ?? []
        try require(stages.count <= 1000, "schedule.stages", "are \(stages.count); at most 1000 are possible")
        var end = 0.0
        for (index, stage) in stages.enumerated() {
            let key = "schedule.stages[\(index)]"
            try require(end < 1, key, "comes after a stage that lasts until 1, the end of the run")
            if let until = stage.until {
                try require(
                    until > end && until <= 1, "\(key).until",
                    until > 1
                        ? "is \(until), above 1: it is a fraction of the run's steps, as 0.5 for the first half"
                        : index == 0
                            ? "is \(until), not above 0: it is a fraction of the run's steps"
                            : "is \(until), not above the \(end) at which the stage before it ends: stages follow each other"
                )
                end = until
            } else {
                try require(
                    index == stages.count - 1, key,
                    "has no until, and another stage follows it: say until which fraction of the run's steps it lasts")
            }
            let isTimed = stage.until != nil || HeadValues.Name.allCases.contains { stage[$0]?.isRamp == true }
            try require(
                !isTimed || !isEndless, key,
                "is a fraction of the run's steps, and schedule.steps is 0: give schedule.steps, or change values with `coordinator set`"
            )
            for name in HeadValues.Name.allCases {
                guard let value = stage[name] else { continue }
                try require(
                    [value.from, value.to].allSatisfy { name.allows(name.rounded($0)) }, "\(key).\(name.rawValue)",
                    "is \(value), not \(name.allowed)")
            }
        }
        try require(
            stages.isEmpty || stages.contains { stage in HeadValues.Name.allCases.contains { stage[$0] != nil } },
            "schedule.stages", "name no value of the head: sample_rate, m1, m2, m3, scale or interclass_filter")
    }
}

extension RunConfiguration.StageValue {
    /// Whether it changes from step to step.
    public var isRamp: Bool { from != to }
}

extension RunConfiguration.StageValue: CustomStringConvertible {
    public var description: String {
        isRamp ? "\(ShortNumber.text(from)) to \(ShortNumber.text(to))" : ShortNumber.text(from)
    }
}

extension RunConfiguration.StageValue: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Double.self) {
            self.init(from: number, to: number)
            return
        }
        let text = try container.decode(String.self)
        do { try self.init(text) } catch {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "is \(text.shown); \(ConfigurationShape.ramp.description) is wanted")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if isRamp { try container.encode(description) } else { try container.encode(from) }
    }
}
