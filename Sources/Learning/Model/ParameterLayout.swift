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
        self.configuration = configuration
        var builder = LayoutBuilder()
        if !configuration.isIdentity { builder.build(configuration) }
        segments = builder.segments
        indexByName = Dictionary(uniqueKeysWithValues: segments.map { ($0.name, $0.index) })
    }

    /// The segment `name`, or nil.
    public subscript(name: String) -> Segment? { indexByName[name].map { segments[$0] } }

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

/// Walks an IResNet in the order in which InsightFace registers its modules.
private struct LayoutBuilder {
    var segments: [ParameterLayout.Segment] = []

    mutating func add(
        _ name: String, _ shape: [Int], _ kind: ParameterLayout.Kind, _ initializer: ParameterLayout.Initializer
    ) {
        let start = segments.last?.range.upperBound ?? 0
        segments.append(
            .init(
                name: name, kind: kind, shape: shape, range: start..<start + shape.reduce(1, *),
                initializer: initializer, index: segments.count))
    }

    mutating func convolution(_ name: String, _ inputs: Int, _ outputs: Int, kernel: Int) {
        add("\(name).weight", [outputs, inputs, kernel, kernel], .parameter, .normal(standardDeviation: 0.1))
    }

    mutating func normalization(_ name: String, _ channels: Int, weight: ParameterLayout.Kind = .parameter) {
        add("\(name).weight", [channels], weight, .constant(1))
        add("\(name).bias", [channels], .parameter, .constant(0))
        add("\(name).running_mean", [channels], .statistic, .constant(0))
        add("\(name).running_var", [channels], .statistic, .constant(1))
    }

    mutating func build(_ configuration: BackboneConfiguration) {
        convolution("conv1", configuration.inputChannels, configuration.stemWidth, kernel: 3)
        normalization("bn1", configuration.stemWidth)
        add("prelu.weight", [configuration.stemWidth], .parameter, .constant(0.25))
        for block in configuration.blocks {
            normalization("\(block.name).bn1", block.inputs)
            convolution("\(block.name).conv1", block.inputs, block.outputs, kernel: 3)
            normalization("\(block.name).bn2", block.outputs)
            add("\(block.name).prelu.weight", [block.outputs], .parameter, .constant(0.25))
            convolution("\(block.name).conv2", block.outputs, block.outputs, kernel: 3)
            normalization("\(block.name).bn3", block.outputs)
            if block.hasDownsample {
                convolution("\(block.name).downsample.0", block.inputs, block.outputs, kernel: 1)
                normalization("\(block.name).downsample.1", block.outputs)
            }
        }
        let last = configuration.widths[configuration.widths.count - 1]
        normalization("bn2", last)
        let (height, width) = configuration.outputExtent
        let inputs = last * height * width
        // PyTorch's default of a linear layer: uniform in ±1/√(inputs), weight and bias.
        let bound = 1 / Float(inputs).squareRoot()
        add("fc.weight", [configuration.embeddingSize, inputs], .parameter, .uniform(bound: bound))
        add("fc.bias", [configuration.embeddingSize], .parameter, .uniform(bound: bound))
        normalization("features", configuration.embeddingSize, weight: .frozen)
    }
}
