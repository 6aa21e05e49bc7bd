/// A page in the text format of Prometheus (exposition 0.0.4), family by family.
public struct MetricsText: Sendable {
    /// What a family's values are.
    public enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    /// One value of a family, and the labels that tell it from the others.
    public struct Sample: Sendable {
        public var labels: [(name: String, value: String)]
        public var value: Double

        public init(_ value: Double, _ labels: (name: String, value: String)...) {
            self.value = value
            self.labels = labels
        }
    }

    /// The page so far. Ends with a newline.
    public private(set) var text = ""

    public init() {}

    /// The content type of the page.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// The page as an answer.
    public var response: HTTPResponse { HTTPResponse(contentType: Self.contentType, body: text.utf8) }

    /// Appends a family of samples; nothing if there are none.
    ///
    /// - Parameters:
    ///   - name: letters, digits and underscores; counters end in `_total`, others in their unit.
    ///   - help: a sentence.
    public mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
        guard !samples.isEmpty else { return }
        begin(name, kind, help)
        for sample in samples { append(name, sample.labels, sample.value) }
    }

    /// Appends a family of one sample without labels; nothing if `value` is nil.
    public mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double?) {
        add(name, kind, help, value.map { [Sample($0)] } ?? [])
    }

    /// Appends a histogram.
    public mutating func add(_ name: String, _ help: String, _ histogram: Histogram) {
        begin(name, .histogram, help)
        var count = 0
        for (bound, number) in zip(Histogram.bounds + [.infinity], histogram.counts) {
            count += number
            append(name + "_bucket", [("le", Self.number(bound))], Double(count))
        }
        append(name + "_sum", [], histogram.sum)
        append(name + "_count", [], Double(count))
    }

    private mutating func begin(_ name: String, _ kind: Kind, _ help: String) {
        let help = help.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    private mutating func append(_ name: String, _ labels: [(name: String, value: String)], _ value: Double) {
        text += name
        if !labels.isEmpty {
            text += "{" + labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",") + "}"
        }
        text += " \(Self.number(value))\n"
    }

    /// A label's value with backslashes, quotes and newlines escaped.
    static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }

    /// A number as Prometheus reads it.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int(exactly: value), abs(whole) < 1 << 53 { return "\(whole)" }
        return "\(value)"
    }
}

extension MetricsText {
    /// How many durations fell between fixed bounds.
    public struct Histogram: Sendable {
        /// Seconds; a last bucket has no bound.
        public static let bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

        public private(set) var counts = [Int](repeating: 0, count: Histogram.bounds.count + 1)
        public private(set) var sum = 0.0

        public init() {}

        /// Counts a duration in seconds.
        public mutating func note(_ seconds: Double) {
            counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
            sum += seconds
        }
    }
}
