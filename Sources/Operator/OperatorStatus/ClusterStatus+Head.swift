extension ClusterStatus {
    /// Values of the head that may be others in another step.
    public struct Head: Codable, Sendable, Hashable {
        /// r.
        public var sampleRate: Double
        public var m1: Float
        public var m2: Float
        public var m3: Float
        /// s.
        public var scale: Float
        /// τ; 0: off.
        public var interclassFilter: Float

        public init(sampleRate: Double, m1: Float, m2: Float, m3: Float, scale: Float, interclassFilter: Float) {
            self.sampleRate = sampleRate
            self.m1 = m1
            self.m2 = m2
            self.m3 = m3
            self.scale = scale
            self.interclassFilter = interclassFilter
        }

        /// Each with its name, as configurations and commands have it.
        public var values: [(name: String, value: Double)] {
            [("sample_rate", sampleRate)]
                + [("m1", m1), ("m2", m2), ("m3", m3), ("scale", scale), ("interclass_filter", interclassFilter)]
                .map { ($0, Double("\($1)") ?? Double($1)) }
        }

        /// One line for people.
        public var summary: String {
            func text(_ value: Double) -> String {
                let text = "\((value * 1e5).rounded() / 1e5)"
                return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
            }
            let margins = [m1, m2, m3].map { text(Double($0)) }.joined(separator: " ")
            let filter = interclassFilter > 0 ? ", interclass filter \(text(Double(interclassFilter)))" : ""
            return "sample rate \(text(sampleRate)), margins \(margins), scale \(text(Double(scale)))\(filter)"
        }
    }

    /// Values of the head that an operator has set.
    public struct HeadChange: Codable, Sendable {
        /// The first step that has them; nil while they wait for one that has not begun.
        public var fromStep: Int?
        /// `m2=0.5 sample_rate=schedule`.
        public var order: String

        public init(fromStep: Int?, order: String) {
            self.fromStep = fromStep
            self.order = order
        }
    }
}
