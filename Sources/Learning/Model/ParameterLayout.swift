public import Cluster

/// Where every tensor of a backbone lies in one flat vector of P floats.
///
/// Names, shapes and order are those of InsightFace's `state_dict` (without `num_batches_tracked`). The vector is cut into
/// dense slices [P·i/Nd, P·(i+1)/Nd), the unit in which shards own it.
public struct ParameterLayout: Sendable {
    /// How a segment takes part in training.
    public enum Kind: String, Sendable {
        /// Trained by gradient.
        case parameter
        /// Constant, but counted as a parameter: `features.weight`.
        case frozen
        /// A running statistic of a batch normalisation.
        case statistic
    }

    /// The values a segment starts from.
    public enum Initializer: Sendable, Hashable {
        case constant(Float)
        case normal(standardDeviation: Float)
        /// Uniform in ±bound.
        case uniform(bound: Float)
    }

    /// One named tensor.
    public struct Segment: Sendable {
        public let name: String
        public let kind: Kind
        public let shape: [Int]
        /// Where it lies in the flat vector.
        public let range: Range<Int>
        public let initializer: Initializer
        /// Position among the segments.
        public let index: Int
    }

    public let configuration: BackboneConfiguration
    /// The network whose parameters these are; nil for the identity backbone.
    public let graph: Graph?
    public let segments: [Segment]
    private let indexByName: [String: Int]

    /// P: floats in the flat vector.
    public var count: Int { segments.last?.range.upperBound ?? 0 }

    /// What PyTorch counts as parameters: trained and frozen, no statistics.
    public var parameterCount: Int {
        segments.filter { $0.kind != .statistic }.reduce(0) { $0 + $1.range.count }
    }

    /// - Throws: `BackboneError` if the configuration describes no network.
    public init(_ configuration: BackboneConfiguration) throws(BackboneError) {
        try configuration.validate()
        self.init(configuration, configuration.isIdentity ? nil : try configuration.graph())
    }

    /// The layout of a network that no configuration describes, from images to a vector.
    public init(_ graph: Graph) {
        let shape = [Int](repeating: 1, count: max(0, 3 - graph.inputShape.count)) + graph.inputShape
        self.init(
            BackboneConfiguration(
                name: graph.name, depths: [], widths: [], strides: [], stemWidth: 0, inputChannels: shape[0],
                inputHeight: shape[1], inputWidth: shape[2], embeddingSize: graph.outputShape.reduce(1, *)), graph)
    }

    private init(_ configuration: BackboneConfiguration, _ graph: Graph?) {
        self.configuration = configuration
        self.graph = graph
        var segments: [Segment] = []
        var start = 0
        for (index, parameter) in (graph?.parameters ?? []).enumerated() {
            segments.append(
                Segment(
                    name: parameter.name, kind: parameter.kind, shape: parameter.shape,
                    range: start..<start + parameter.count, initializer: parameter.initializer, index: index))
            start += parameter.count
        }
        self.segments = segments
        indexByName = Dictionary(uniqueKeysWithValues: segments.map { ($0.name, $0.index) })
    }

    /// The segment `name`, or nil.
    public subscript(name: String) -> Segment? { indexByName[name].map { segments[$0] } }

    /// The segment of a parameter of `graph`.
    public subscript(parameter: Graph.ParameterID) -> Segment { segments[parameter.index] }

    /// The elements of dense slices `slices` of `count` dense slices.
    public func range(ofSlices slices: Range<Int>, of count: Int) -> Range<Int> {
        self.count * slices.lowerBound / count..<self.count * slices.upperBound / count
    }

    /// The elements of each contiguous part of dense slices `slices` of `count` dense slices, ascending, without empty ones.
    public func ranges(ofSlices slices: SliceSet, of count: Int) -> [Range<Int>] {
        slices.ranges.map { range(ofSlices: $0, of: count) }.filter { !$0.isEmpty }
    }

    /// The parts of segments inside `range`, in order.
    public func parts(in range: Range<Int>) -> [(segment: Segment, range: Range<Int>)] {
        segments.compactMap { segment in
            let part = segment.range.clamped(to: range)
            return part.isEmpty ? nil : (segment, part)
        }
    }
}
