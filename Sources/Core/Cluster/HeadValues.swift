/// What of the head may be another value in another step: everything in it that no row, no file and no message has its size of.
///
/// Notation of docs/mathematics.md: the logit of the target is s·(cos(m1·θ + m2) − m3).
public struct HeadValues: Sendable, Hashable, Codable {
    /// Fraction r of the classes that take part in a step, in 0...1. 0 means the classes of the batch alone.
    public var sampleRate: Double
    /// Factor of the angle.
    public var m1: Double
    /// Added to the angle, in radians.
    public var m2: Double
    /// Taken off the cosine.
    public var m3: Double
    /// Scale s of the logits.
    public var scale: Double
    /// Interclass filter τ: other classes with a cosine above it count as cosine 0 and get no gradient. 0 turns it off.
    public var interclassFilter: Double

    public init(
        sampleRate: Double, m1: Double, m2: Double, m3: Double, scale: Double, interclassFilter: Double = 0
    ) {
        self.sampleRate = sampleRate
        self.m1 = m1
        self.m2 = m2
        self.m3 = m3
        self.scale = scale
        self.interclassFilter = interclassFilter
    }

    /// One of the values, as configurations and commands name it.
    public enum Name: String, Sendable, Hashable, CaseIterable, Comparable {
        case sampleRate = "sample_rate"
        case m1, m2, m3, scale
        case interclassFilter = "interclass_filter"

        /// In the order of their declaration.
        public static func < (a: Name, b: Name) -> Bool { a.position < b.position }

        private var position: Int { Self.allCases.firstIndex(of: self) ?? 0 }

        /// Whether the value may be this number.
        public func allows(_ value: Double) -> Bool {
            switch self {
            case .sampleRate, .interclassFilter: (0...1).contains(value)
            case .m1: (0.01...100).contains(value)
            case .m2, .m3: (-100...100).contains(value)
            case .scale: value > 0 && value <= 300
            }
        }

        /// What it may be, in words.
        public var allowed: String {
            switch self {
            case .sampleRate: "0...1"
            case .interclassFilter: "0 (off) or a cosine up to 1"
            case .m1: "0.01...100"
            case .m2: "-100...100 radians"
            case .m3: "-100...100"
            case .scale: "above 0 and at most 300"
            }
        }

        /// A number as the value is kept: all but the rate are given in single precision, wherever they are given.
        public func rounded(_ value: Double) -> Double { self == .sampleRate ? value : Double(Float(value)) }

        /// A value as text that gives the same one when it is read.
        public func text(_ value: Double) -> String {
            self != .sampleRate && Double(Float(value)) == value
                ? ShortNumber.text(Float(value)) : ShortNumber.text(value)
        }
    }

    public subscript(name: Name) -> Double {
        get {
            switch name {
            case .sampleRate: sampleRate
            case .m1: m1
            case .m2: m2
            case .m3: m3
            case .scale: scale
            case .interclassFilter: interclassFilter
            }
        }
        set {
            switch name {
            case .sampleRate: sampleRate = newValue
            case .m1: m1 = newValue
            case .m2: m2 = newValue
            case .m3: m3 = newValue
            case .scale: scale = newValue
            case .interclassFilter: interclassFilter = newValue
            }
        }
    }

    /// What is wrong with the values; nil if they are possible.
    public var problem: String? {
        for name in Name.allCases where !name.allows(self[name]) {
            return "\(name.rawValue) is \(self[name]); \(name.allowed) is allowed"
        }
        return nil
    }
}

extension HeadValues: CustomStringConvertible {
    /// `sample_rate=0.1 m1=1 m2=0.5 m3=0 scale=64 interclass_filter=0`.
    public var description: String {
        Name.allCases.map { "\($0.rawValue)=\($0.text(self[$0]))" }.joined(separator: " ")
    }
}
