/// How a network is quantised.
public struct QuantizationOptions: Sendable, Hashable, Codable {
    /// How scales are chosen.
    public enum Method: Sendable, Hashable, Codable {
        /// Alternating search towards the layer's output, arXiv 2006.16669.
        case easyQuant
        /// From the values alone; weights by their largest.
        case range(RangeMethod)
    }

    /// 2…8, of weights and activations.
    public var bits = 8
    public var method = Method.easyQuant
    public var objective = WeightObjective.squared
    /// Whether a layer's input may have a zero point, where that is better.
    public var zeroPoint = true
    /// Output places of each image at which the search looks; nil for all.
    public var places: Int? = 16
    /// Candidates of each grid.
    public var candidates = 100
    /// The most rounds of a weight phase and an input phase.
    public var rounds = 3
    public var seed: UInt64 = 1
    /// Bits of single layers, by name; 0 for single precision.
    public var bitsOf: [String: Int] = [:]

    public init() {}
}
