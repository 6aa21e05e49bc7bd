public import Model

/// A network prepared for inference: normalisations folded into weights, activations and additions part of the layer before them.
///
/// Value 0 is the input; layer i makes value i + 1. Layers stand in an order in which they can be executed. All images are NHWC.
public struct FoldedNetwork: Sendable {
    public let name: String
    public let input: Extents
    public let layers: [FoldedLayer]
    /// The value that is the embedding: [1,1,D].
    public let output: Int

    public init(name: String, input: Extents, layers: [FoldedLayer], output: Int) {
        self.name = name
        self.input = input
        self.layers = layers
        self.output = output
    }

    /// D.
    public var embeddingSize: Int { extents(of: output).count }

    public func extents(of value: Int) -> Extents { value == 0 ? input : layers[value - 1].extents }

    /// The layers that read each value, as input or as residual, by the value's number.
    public var consumers: [[Int]] {
        var result = [[Int]](repeating: [], count: layers.count + 1)
        for (position, layer) in layers.enumerated() {
            for value in layer.inputs + (layer.residual.map { [$0] } ?? []) { result[value].append(position) }
        }
        return result
    }

    /// Whether it begins with taking a number of the size of pixels from them: it is to be given 0…255.
    public var takesPixels: Bool {
        layers.contains { layer in
            guard layer.inputs == [0], case .scale(let factor, let summand) = layer.operation else { return false }
            return zip(factor, summand).contains { abs($1) >= 2 * abs($0) && abs($1) >= 2 }
        }
    }

    /// Multiplications and additions of an image, by layer; 0 for layers without weights.
    public var products: [Int] {
        layers.map { layer in
            guard case .weighted(let weighted) = layer.operation else { return 0 }
            return layer.extents.pixels * weighted.weights.count
        }
    }
}

/// One layer: its operation, then `first`, then the addition of a residual, then `second`.
public struct FoldedLayer: Sendable {
    /// What a layer computes before its activations.
    public enum Operation: Sendable {
        case weighted(WeightedLayer)
        /// x·factor + summand for each channel: a normalisation that stands alone, or a lone activation with factor 1.
        case scale(factor: [Float], summand: [Float])
        /// Computed in single precision as it is.
        case other(UnfoldedOperation)
    }

    /// The node that it was made of.
    public let name: String
    public var operation: Operation
    public let inputs: [Int]
    public var first: ChannelActivation = .none
    /// A value of the same extents that is added.
    public var residual: Int?
    public var second: ChannelActivation = .none
    public let extents: Extents

    public init(name: String, operation: Operation, inputs: [Int], extents: Extents) {
        self.name = name
        self.operation = operation
        self.inputs = inputs
        self.extents = extents
    }

    /// The layer's weights; nil if it has none.
    public var weighted: WeightedLayer? {
        if case .weighted(let layer) = operation { layer } else { nil }
    }
}

/// The extents of an image; a vector has one pixel.
public struct Extents: Sendable, Hashable, Codable {
    public var channels: Int
    public var height: Int
    public var width: Int

    public init(channels: Int, height: Int, width: Int) {
        self.channels = channels
        self.height = height
        self.width = width
    }

    public var pixels: Int { height * width }
    public var count: Int { channels * pixels }
    /// [channels, height, width].
    var shape: [Int] { [channels, height, width] }
}

/// A function of one number that kernels compute on their way out.
public enum ChannelActivation: Sendable, Hashable {
    case none
    /// x for x > 0, slope·x else; a slope for each channel.
    case prelu([Float])
    /// min(max(x, low), high).
    case clip(Float, Float)
}

/// Operators without weights that are computed on floats, image by image.
public enum UnfoldedOperation: Sendable, Hashable, Codable {
    case activation(Graph.Activation)
    /// Of two values of one shape, or of a value and one number for each of its channels.
    case binary(Graph.Binary)
    case pooling(Graph.Pooling)
    /// Along the channels.
    case concatenation
    /// Channels of a value.
    case slice(Range<Int>)
}
