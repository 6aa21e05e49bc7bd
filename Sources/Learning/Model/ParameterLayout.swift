public import Cluster
public import Tensors

/// Where every tensor of a backbone lies in one flat vector of P floats.
///
/// Names, shapes and order are those of InsightFace's `state_dict` (without `num_batches_tracked`). The vector is cut into
/// dense slices [P·i/Nd, P·(i+1)/Nd), the unit in which shards own it.
public struct ParameterLayout: Sendable {
    /// How a segment takes part in training.
    public enum Kind: String, Sendable {
        /// Trained by gradient.
        case parameter
        /// Constant, but counted as a parameter: `features.weight`, and what `backbone.frozen` names.
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
    /// f32 [P]: the values that an imported network came with; nil for random ones.
    let importedValues: Tensor?

    /// P: floats in the flat vector.
    public var count: Int { segments.last?.range.upperBound ?? 0 }

    /// What PyTorch counts as parameters: trained and frozen, no statistics.
    public var parameterCount: Int {
        segments.filter { $0.kind != .statistic }.reduce(0) { $0 + $1.range.count }
    }

    /// - Parameter frozen: names of parameters that are not trained, `*` standing for any characters. Running statistics move
    ///   all the same, as in PyTorch.
    /// - Throws: `BackboneError` if the configuration describes no network, or a name no parameter.
    public init(_ configuration: BackboneConfiguration, frozen: [String] = []) throws(BackboneError) {
        try configuration.validate()
        let graph = configuration.isIdentity ? nil : try configuration.graph()
        self.init(configuration, graph, frozen: try Self.matched(frozen, in: graph, configuration.name))
    }

    /// The layout of an imported network that is trained on.
    ///
    /// - Parameters:
    ///   - values: f32 [P], which it starts from.
    ///   - frozen: as above.
    /// - Throws: `BackboneError` if there are not as many values as parameters, or a name of `frozen` is that of none.
    public init(_ graph: Graph, values: Tensor, frozen: [String] = []) throws(BackboneError) {
        self.init(
            Self.configuration(of: graph), graph, frozen: try Self.matched(frozen, in: graph, graph.name),
            importedValues: values)
        guard values.dtype == .f32, values.shape == [count] else {
            throw BackboneError(
                .invalidPayload, "values are \(values.dtype) \(values.shape); \(graph.name) has f32 [\(count)]")
        }
    }

    /// The names that patterns stand for.
    private static func matched(
        _ frozen: [String], in graph: Graph?, _ title: String
    ) throws(BackboneError) -> Set<String> {
        let names = (graph?.parameters ?? []).filter { $0.kind != .statistic }.map(\.name)
        var matched: Set<String> = []
        for pattern in frozen {
            let found = names.filter { Self.matches($0[...], pattern[...]) }
            guard !found.isEmpty else {
                throw BackboneError(
                    .invalidConfiguration,
                    "no parameter of \(title) is named \(pattern); they are named as \(names.prefix(3).joined(separator: ", ")), …, and * stands for any characters"
                )
            }
            matched.formUnion(found)
        }
        return matched
    }

    /// Whether a name is one of a pattern, in which `*` stands for any characters.
    private static func matches(_ name: Substring, _ pattern: Substring) -> Bool {
        let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
        guard parts.count > 1, let first = parts.first, let last = parts.last else { return name == pattern }
        guard name.count >= first.count + last.count, name.hasPrefix(first), name.hasSuffix(last) else { return false }
        // Each part as early as it can be: what is left for the others is then the most.
        var rest = name.dropFirst(first.count).dropLast(last.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let at = rest.firstRange(of: part) else { return false }
            rest = rest[at.upperBound...]
        }
        return true
    }

    /// The layout of a network that no configuration describes, from images to a vector.
    public init(_ graph: Graph) { self.init(Self.configuration(of: graph), graph) }

    /// Whether `graph` is one that no configuration describes.
    public var isImported: Bool { graph != nil && configuration.depths.isEmpty }

    private static func configuration(of graph: Graph) -> BackboneConfiguration {
        let shape = [Int](repeating: 1, count: max(0, 3 - graph.inputShape.count)) + graph.inputShape
        return BackboneConfiguration(
            name: graph.name, depths: [], widths: [], strides: [], stemWidth: 0, inputChannels: shape[0],
            inputHeight: shape[1], inputWidth: shape[2], embeddingSize: graph.outputShape.reduce(1, *))
    }

    private init(
        _ configuration: BackboneConfiguration, _ graph: Graph?, frozen: Set<String> = [],
        importedValues: Tensor? = nil
    ) {
        self.importedValues = importedValues
        self.configuration = configuration
        self.graph = graph
        var segments: [Segment] = []
        var start = 0
        for (index, parameter) in (graph?.parameters ?? []).enumerated() {
            segments.append(
                Segment(
                    name: parameter.name, kind: frozen.contains(parameter.name) ? .frozen : parameter.kind,
                    shape: parameter.shape,
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
