/// What a key of the configuration takes.
indirect enum ConfigurationShape: Sendable {
    case section([String: ConfigurationShape])
    case boolean
    /// A whole number, which may have to be at least 0.
    case integer(isNatural: Bool)
    /// A number that is kept in single precision, or in double.
    case number(isSingle: Bool)
    case text
    /// Text that names a file or directory.
    case path
    case list(ConfigurationShape)
    /// A number, or two that a value goes between: `0 to 0.5`.
    case ramp

    /// The shape of a whole configuration: that of the structures, so that a new property is a new key.
    static let configuration = ConfigurationShape(of: RunConfiguration.withEveryKey, key: "") ?? .section([:])

    /// Keys whose text names a file or directory.
    private static let paths: Set = [
        "output", "data.path", "backbone.initial", "head.initial", "head.sampled", "evaluation.sets",
        "checkpoint.directory",
    ]

    private init?(of value: Any, key: String) {
        switch value {
        case is Bool: self = .boolean
        case is Int: self = .integer(isNatural: false)
        case is UInt64: self = .integer(isNatural: true)
        case is Float: self = .number(isSingle: true)
        case is Double: self = .number(isSingle: false)
        case is RunConfiguration.StageValue: self = .ramp
        case is String: self = Self.paths.contains(key) ? .path : .text
        // An empty list could be cast to either.
        case let list where type(of: list) == [Int].self: self = .list(.integer(isNatural: false))
        case let list where type(of: list) == [Double]?.self: self = .list(.number(isSingle: false))
        case let list where type(of: list) == [String]?.self: self = .list(.text)
        case let list where type(of: list) == [RunConfiguration.Stage]?.self:
            guard let stage = ConfigurationShape(of: RunConfiguration.Stage.withEveryKey, key: "") else { return nil }
            self = .list(stage)
        case let list where type(of: list) == [String].self: self = .list(Self.paths.contains(key) ? .path : .text)
        default:
            var section: [String: ConfigurationShape] = [:]
            for child in Mirror(reflecting: value).children {
                guard let name = child.label.map(ConfigurationKey.snake) else { continue }
                section[name] = ConfigurationShape(of: child.value, key: key.isEmpty ? name : "\(key).\(name)")
            }
            if section.isEmpty { return nil }
            self = .section(section)
        }
    }

    /// What is wanted, in words.
    var description: String {
        switch self {
        case .section: "a mapping of keys"
        case .boolean: "true or false"
        case .integer(let isNatural): isNatural ? "a whole number from 0" : "a whole number"
        case .number: "a number"
        case .text: "text"
        case .path: "a path"
        case .ramp: "a number, or two as 0 to 0.5,"
        case .list(.section): "a list such as [{until: 0.6, sample_rate: 0.1}, {sample_rate: 1}]"
        case .list(.integer): "a list such as [1, 2, 3]"
        case .list(.number): "a list such as [0.9, 0.999]"
        case .list: "a list such as [a, b]"
        }
    }
}
