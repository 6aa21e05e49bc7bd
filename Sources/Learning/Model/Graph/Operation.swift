extension Graph {
    /// What a node computes. Axes count from 0 at the first extent of a sample: the batch is none of them.
    ///
    /// Formulas and edge cases are ONNX's (opset 17), which PyTorch's operators of these names agree with.
    public enum Operation: Sendable, Hashable {
        /// [C,H,W] → [C',H',W'].
        case convolution(Convolution)
        /// Per channel: x·weight/√(variance + epsilon) + …, over the first axis of a sample.
        case batchNormalization(BatchNormalization)
        /// x·weightᵀ + bias over the last axis. The weight is [outputs, inputs].
        case linear(weight: ParameterID, bias: ParameterID?)
        case activation(Activation)
        /// max(x, 0) + slope·min(x, 0), a slope for each channel or one for all.
        case prelu(slope: ParameterID)
        /// Of two values, or of a value and a constant; extents are broadcast from the right.
        case binary(Binary, constant: Constant?)
        case concatenation(axis: Int)
        /// Elements `range` of an axis: what a split consists of.
        case slice(axis: Int, range: Range<Int>)
        case pooling(Pooling)
        /// Over all pixels: [C,H,W] → [C,1,1].
        case globalPooling(PoolingKind)
        /// To extents with as many elements; [C,H,W] is read in this order.
        case reshape([Int])
        case transpose([Int])
        /// [..,M,K] · [..,K,N].
        case matrixProduct
        case softmax(axis: Int)
        /// Over the last extents, as many as the weight has.
        case layerNormalization(weight: ParameterID, bias: ParameterID?, epsilon: Float)
        /// The identity when the network is used, and in training too unless `backbone.dropout` says otherwise.
        case dropout
    }

    public struct Convolution: Sendable, Hashable {
        /// [outputs, inputs / groups, kernel height, kernel width].
        public var weight: ParameterID
        public var bias: ParameterID?
        public var strides: Extent
        public var padding: Padding
        public var dilation: Extent
        public var groups: Int

        public init(
            weight: ParameterID, bias: ParameterID? = nil, strides: Extent = .init(1), padding: Padding = .zero,
            dilation: Extent = .init(1), groups: Int = 1
        ) {
            self.weight = weight
            self.bias = bias
            self.strides = strides
            self.padding = padding
            self.dilation = dilation
            self.groups = groups
        }
    }

    public struct BatchNormalization: Sendable, Hashable {
        public var weight: ParameterID
        public var bias: ParameterID
        public var mean: ParameterID
        public var variance: ParameterID
        public var epsilon: Float

        public init(
            weight: ParameterID, bias: ParameterID, mean: ParameterID, variance: ParameterID, epsilon: Float
        ) {
            self.weight = weight
            self.bias = bias
            self.mean = mean
            self.variance = variance
            self.epsilon = epsilon
        }
    }

    /// Functions of one number.
    public enum Activation: Sendable, Hashable, Codable {
        case relu
        /// min(max(x, low), high); (0, 6) is ReLU6.
        case clip(Float, Float)
        /// x for x > 0, slope·x else.
        case leakyRelu(Float)
        case sigmoid
        case tanh
        /// min(max(x/6 + 1/2, 0), 1).
        case hardSigmoid
        /// x·hardSigmoid(x).
        case hardSwish
        /// x/2·(1 + erf(x/√2)).
        case gelu
        /// x·sigmoid(x), which is swish.
        case silu
    }

    public enum Binary: String, Sendable, Hashable, Codable, CaseIterable {
        case add, subtract, multiply, divide
    }

    /// The second (or first) operand of a binary operator that is no value.
    public struct Constant: Sendable, Hashable {
        public var parameter: ParameterID
        /// Whether it is the first operand.
        public var isFirst: Bool

        public init(_ parameter: ParameterID, isFirst: Bool = false) {
            self.parameter = parameter
            self.isFirst = isFirst
        }
    }

    public enum PoolingKind: Sendable, Hashable, Codable {
        case maximum
        case average
    }

    public struct Pooling: Sendable, Hashable, Codable {
        public var kind: PoolingKind
        public var kernel: Extent
        public var strides: Extent
        public var padding: Padding
        /// Whether the last window may reach beyond the padding.
        public var roundsUp: Bool
        /// Whether padding counts in an average.
        public var countsPadding: Bool

        public init(
            kind: PoolingKind, kernel: Extent, strides: Extent, padding: Padding = .zero, roundsUp: Bool = false,
            countsPadding: Bool = false
        ) {
            self.kind = kind
            self.kernel = kernel
            self.strides = strides
            self.padding = padding
            self.roundsUp = roundsUp
            self.countsPadding = countsPadding
        }
    }

    /// Pixels along both axes.
    public struct Extent: Sendable, Hashable, Codable {
        public var height: Int
        public var width: Int

        public init(_ height: Int, _ width: Int) {
            self.height = height
            self.width = width
        }

        public init(_ both: Int) { self.init(both, both) }
    }

    /// Zeros around an image.
    public struct Padding: Sendable, Hashable, Codable {
        public var top: Int
        public var left: Int
        public var bottom: Int
        public var right: Int

        public init(top: Int, left: Int, bottom: Int, right: Int) {
            self.top = top
            self.left = left
            self.bottom = bottom
            self.right = right
        }

        public init(_ all: Int) { self.init(top: all, left: all, bottom: all, right: all) }

        public static let zero = Padding(0)
    }
}

extension Graph.Operation {
    /// The name in messages.
    public var title: String {
        switch self {
        case .convolution(let c): c.groups == 1 ? "convolution" : "grouped convolution"
        case .batchNormalization: "batch normalisation"
        case .linear: "linear layer"
        case .activation(let activation): "\(activation)"
        case .prelu: "PReLU"
        case .binary(let binary, _): binary.rawValue
        case .concatenation: "concatenation"
        case .slice: "slice"
        case .pooling: "pooling"
        case .globalPooling: "global pooling"
        case .reshape: "reshape"
        case .transpose: "transposition"
        case .matrixProduct: "matrix product"
        case .softmax: "softmax"
        case .layerNormalization: "layer normalisation"
        case .dropout: "dropout"
        }
    }

    /// The parameters that it reads.
    public var parameters: [Graph.ParameterID] {
        switch self {
        case .convolution(let c): [c.weight] + (c.bias.map { [$0] } ?? [])
        case .batchNormalization(let n): [n.weight, n.bias, n.mean, n.variance]
        case .linear(let weight, let bias): [weight] + (bias.map { [$0] } ?? [])
        case .prelu(let slope): [slope]
        case .binary(_, let constant): constant.map { [$0.parameter] } ?? []
        case .layerNormalization(let weight, let bias, _): [weight] + (bias.map { [$0] } ?? [])
        default: []
        }
    }

    /// How many values it reads; nil if any number from one.
    var arity: Int? {
        switch self {
        case .binary(_, let constant): constant == nil ? 2 : 1
        case .matrixProduct: 2
        case .concatenation: nil
        default: 1
        }
    }
}
