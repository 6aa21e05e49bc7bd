public import Model
public import Tensors

extension FoldedNetwork {
    /// Folds a network for inference.
    ///
    /// - Parameters:
    ///   - parameters: f32 [P], in the order of the graph.
    ///   - fixed: nodes whose weights stay as they are: a normalisation behind one becomes a layer.
    /// - Throws: `BackboneError` that names the node if an operator cannot be run in this form.
    public init(_ graph: Graph, parameters: Tensor, fixed: Set<String> = []) throws(BackboneError) {
        let layout = ParameterLayout(graph)
        guard parameters.dtype == .f32, parameters.count == layout.count else {
            throw BackboneError(
                .invalidPayload, "\(graph.name): \(parameters.count) parameters of \(layout.count)")
        }
        var folding = try GraphFolding(graph, layout, parameters, fixed)
        self = try folding.network()
    }
}

/// Walks a graph's nodes in order and makes layers of them.
private struct GraphFolding {
    private let graph: Graph
    private let layout: ParameterLayout
    private let parameters: Tensor
    private let fixed: Set<String>
    private let consumers: [[Int]]
    private var layers: [FoldedLayer] = []
    /// The folded value of each value of the graph, and those that more than one node reads.
    private var values: [Int: Int] = [:]
    private var shared: Set<Int> = []
    private let input: Extents
    /// Weights of all convolutions, which groups make many of.
    private var weightCount = 0
    private static let weightLimit = 1 << 28

    init(
        _ graph: Graph, _ layout: ParameterLayout, _ parameters: Tensor, _ fixed: Set<String>
    ) throws(BackboneError) {
        self.graph = graph
        self.layout = layout
        self.parameters = parameters
        self.fixed = fixed
        consumers = graph.consumers
        input = try Self.extents(graph.inputShape)
        bind(.input, to: 0)
    }

    mutating func network() throws(BackboneError) -> FoldedNetwork {
        for (position, node) in graph.nodes.enumerated() {
            do { try fold(node, Graph.Value(index: position + 1)) } catch {
                throw BackboneError(
                    error.code, "\(graph.name): \(node.operation.title) \(node.name): \(error.message)")
            }
        }
        guard let output = values[graph.output.index], extents(output).pixels == 1 else {
            throw BackboneError(
                .invalidConfiguration, "\(graph.name): the output \(graph.outputShape) is not a vector")
        }
        let network = FoldedNetwork(name: graph.name, input: input, layers: layers, output: output)
        if let problem = network.problem(integers: layers.map { _ in nil }) {
            throw BackboneError(.invalidConfiguration, "\(graph.name): \(problem)")
        }
        return network
    }

    // MARK: Values and parameters

    private static func extents(_ shape: [Int]) throws(BackboneError) -> Extents {
        switch shape.count {
        case 1: Extents(channels: shape[0], height: 1, width: 1)
        case 3: Extents(channels: shape[0], height: shape[1], width: shape[2])
        default:
            throw BackboneError(
                .invalidConfiguration, "a value of \(shape) is neither an image [C,H,W] nor a vector [C]")
        }
    }

    private func extents(_ value: Int) -> Extents { value == 0 ? input : layers[value - 1].extents }

    private func value(_ value: Graph.Value) throws(BackboneError) -> Int {
        guard let found = values[value.index] else {
            throw BackboneError(.invalidConfiguration, "reads a value that was not computed")
        }
        return found
    }

    private func floats(_ id: Graph.ParameterID) -> [Float] {
        parameters.rows(layout[id].range).array(Float.self)
    }

    private mutating func append(
        _ node: Graph.Node, _ operation: FoldedLayer.Operation, _ inputs: [Int], _ extents: Extents,
        as value: Graph.Value
    ) {
        layers.append(FoldedLayer(name: node.name, operation: operation, inputs: inputs, extents: extents))
        bind(value, to: layers.count)
    }

    private mutating func bind(_ value: Graph.Value, to folded: Int) {
        values[value.index] = folded
        if value == graph.output || consumers[value.index].count != 1 { shared.insert(folded) }
    }

    /// The layer that makes a value which only one node reads: it can take the node in.
    private func producer(of value: Graph.Value) -> Int? {
        guard let made = values[value.index], made > 0, !shared.contains(made) else { return nil }
        return made - 1
    }

    // MARK: Operators

    private mutating func fold(_ node: Graph.Node, _ value: Graph.Value) throws(BackboneError) {
        guard let x = node.inputs.first else { throw BackboneError(.invalidConfiguration, "no inputs") }
        let source = try self.value(x)
        let shape = graph.shape(of: value)
        // A flattened image stays the image; only a linear layer, and what goes by channels, can read it.
        let isFlattened = extents(source).pixels > 1 && graph.shape(of: x).count == 1
        switch node.operation {
        case .convolution(let convolution):
            let layer = try weighted(convolution, extents(source), try Self.extents(shape))
            append(node, .weighted(layer), [source], layer.output, as: value)
        case .linear(let weight, let bias):
            guard shape.count == 1 else { throw unsupported("over more than a vector") }
            let layer = linear(weight, bias, extents(source), outputs: shape[0])
            append(node, .weighted(layer), [source], layer.output, as: value)
        case .batchNormalization(let normalization):
            try normalize(node, normalization, x, value, isFlattened: isFlattened)
        case .activation(let activation):
            switch activation {
            case .relu: apply(.clip(0, .infinity), node, x, source, value)
            case .clip(let low, let high): apply(.clip(low, high), node, x, source, value)
            case .leakyRelu(let slope):
                apply(
                    .prelu([Float](repeating: slope, count: extents(source).channels)), node, x, source, value)
            default:
                append(node, .other(.activation(activation)), [source], extents(source), as: value)
            }
        case .prelu(let slope):
            let slopes = floats(slope)
            let channels = extents(source).channels
            guard !isFlattened || slopes.count == 1 else { throw unsupported("on a flattened image") }
            apply(
                .prelu(slopes.count == 1 ? [Float](repeating: slopes[0], count: channels) : slopes), node, x, source,
                value)
        case .binary(let binary, let constant):
            try combine(node, binary, constant, value)
        case .concatenation(let axis):
            var inputs: [Int] = []
            for input in node.inputs { inputs.append(try self.value(input)) }
            guard axis == 0, !isFlattened else { throw unsupported("along another axis than the channels") }
            append(node, .other(.concatenation), inputs, try Self.extents(shape), as: value)
        case .slice(let axis, let range):
            guard axis == 0, !isFlattened else { throw unsupported("along another axis than the channels") }
            append(node, .other(.slice(range)), [source], try Self.extents(shape), as: value)
        case .pooling(let pooling):
            append(node, .other(.pooling(pooling)), [source], try Self.extents(shape), as: value)
        case .globalPooling(let kind):
            let e = extents(source)
            append(
                node, .other(.pooling(.init(kind: kind, kernel: .init(e.height, e.width), strides: .init(1)))),
                [source], try Self.extents(shape), as: value)
        case .reshape(let to):
            guard to.count == 1 || (extents(source).pixels == 1 && to.reduce(1, *) == to[0]) else {
                throw unsupported("to \(to), which is not a vector")
            }
            bind(value, to: source)
        case .dropout: bind(value, to: source)
        case .transpose, .matrixProduct, .softmax, .layerNormalization:
            throw unsupported("in a network of convolutions")
        }
    }

    private func unsupported(_ what: String) -> BackboneError {
        BackboneError(.invalidConfiguration, "cannot be run by the inference engine \(what)")
    }

    private mutating func weighted(
        _ c: Graph.Convolution, _ input: Extents, _ output: Extents
    ) throws(BackboneError) -> WeightedLayer {
        let shape = layout[c.weight].shape
        let (outputs, width, kernel) = (shape[0], shape[1], Graph.Extent(shape[2], shape[3]))
        let taps = kernel.height * kernel.width
        let source = floats(c.weight)
        let isDepthwise =
            c.groups > 1 && outputs == input.channels && WeightedLayer.groupWidths.contains(width)
        var weights: [Float]
        if isDepthwise {
            weights = [Float](repeating: 0, count: taps * width * outputs)
            for o in 0..<outputs {
                for i in 0..<width {
                    for t in 0..<taps { weights[(t * width + i) * outputs + o] = source[(o * width + i) * taps + t] }
                }
            }
        } else {
            // Other groups become zeros: few networks have any.
            let (count, overflow) = (outputs * taps).multipliedReportingOverflow(by: input.channels)
            guard !overflow, count < Self.weightLimit - weightCount else {
                throw unsupported("with \(c.groups) groups of this size")
            }
            weightCount += count
            weights = [Float](repeating: 0, count: count)
            let perGroup = outputs / c.groups
            for o in 0..<outputs {
                let first = o / perGroup * width
                for i in 0..<width {
                    for t in 0..<taps {
                        weights[(o * taps + t) * input.channels + first + i] = source[(o * width + i) * taps + t]
                    }
                }
            }
        }
        return WeightedLayer(
            weights: weights, bias: c.bias.map(floats) ?? [Float](repeating: 0, count: outputs),
            isDepthwise: isDepthwise, groupWidth: isDepthwise ? width : 1,
            window: .init(kernel: kernel, strides: c.strides, padding: c.padding, dilation: c.dilation), input: input,
            output: output)
    }

    /// A linear layer over a flattened image: a convolution with a kernel of the image's size.
    private func linear(
        _ weight: Graph.ParameterID, _ bias: Graph.ParameterID?, _ input: Extents, outputs: Int
    ) -> WeightedLayer {
        let source = floats(weight)
        let (channels, pixels) = (input.channels, input.pixels)
        var weights = [Float](repeating: 0, count: source.count)
        for o in 0..<outputs {
            for c in 0..<channels {
                for p in 0..<pixels {
                    weights[(o * pixels + p) * channels + c] = source[(o * channels + c) * pixels + p]
                }
            }
        }
        return WeightedLayer(
            weights: weights, bias: bias.map(floats) ?? [Float](repeating: 0, count: outputs), isDepthwise: false,
            window: .init(kernel: .init(input.height, input.width)), input: input,
            output: Extents(channels: outputs, height: 1, width: 1))
    }

    private mutating func normalize(
        _ node: Graph.Node, _ n: Graph.BatchNormalization, _ x: Graph.Value, _ value: Graph.Value, isFlattened: Bool
    ) throws(BackboneError) {
        let (weight, bias, mean, variance) = (floats(n.weight), floats(n.bias), floats(n.mean), floats(n.variance))
        let factor = weight.indices.map { weight[$0] / (variance[$0] + n.epsilon).squareRoot() }
        let summand = weight.indices.map { bias[$0] - mean[$0] * factor[$0] }
        guard !isFlattened else { throw unsupported("on a flattened image") }
        scale(node, factor, summand, x, try self.value(x), value)
    }

    /// Multiplies and adds for each channel: in the weights before, if nothing lies between.
    private mutating func scale(
        _ node: Graph.Node, _ factor: [Float], _ summand: [Float], _ x: Graph.Value, _ source: Int,
        _ value: Graph.Value
    ) {
        if let position = producer(of: x), layers[position].first == .none, layers[position].residual == nil,
            !fixed.contains(layers[position].name), case .weighted(var layer) = layers[position].operation
        {
            for index in layer.weights.indices { layer.weights[index] *= factor[layer.output(ofWeight: index)] }
            for o in layer.bias.indices { layer.bias[o] = layer.bias[o] * factor[o] + summand[o] }
            layers[position].operation = .weighted(layer)
            bind(value, to: source)
            return
        }
        append(node, .scale(factor: factor, summand: summand), [source], extents(source), as: value)
    }

    /// An activation: of the layer before, if that can take it.
    private mutating func apply(
        _ activation: ChannelActivation, _ node: Graph.Node, _ x: Graph.Value, _ source: Int, _ value: Graph.Value
    ) {
        if let position = producer(of: x) {
            let layer = layers[position]
            if case .other = layer.operation {
            } else if layer.residual == nil, layer.first == .none {
                layers[position].first = activation
                bind(value, to: source)
                return
            } else if layer.residual != nil, layer.second == .none {
                layers[position].second = activation
                bind(value, to: source)
                return
            }
        }
        let channels = extents(source).channels
        append(
            node,
            .scale(
                factor: [Float](repeating: 1, count: channels), summand: [Float](repeating: 0, count: channels)),
            [source], extents(source), as: value)
        layers[layers.count - 1].first = activation
    }

    private mutating func combine(
        _ node: Graph.Node, _ binary: Graph.Binary, _ constant: Graph.Constant?, _ value: Graph.Value
    ) throws(BackboneError) {
        let x = node.inputs[0]
        let source = try self.value(x)
        let e = extents(source)
        if let constant {
            let numbers = floats(constant.parameter)
            let shape = layout[constant.parameter].shape
            let isByChannel =
                numbers.count == 1
                || (numbers.count == e.channels
                    && (e.pixels == 1 || (shape.count == 3 && shape[0] == e.channels)))
            guard isByChannel else { throw unsupported("with a constant of \(shape) for an image of \(e)") }
            let c = numbers.count == 1 ? [Float](repeating: numbers[0], count: e.channels) : numbers
            let (ones, zeros) = (c.map { _ in Float(1) }, c.map { _ in Float(0) })
            switch (binary, constant.isFirst) {
            case (.add, _): scale(node, ones, c, x, source, value)
            case (.multiply, _): scale(node, c, zeros, x, source, value)
            case (.subtract, false): scale(node, ones, c.map { -$0 }, x, source, value)
            case (.subtract, true): scale(node, ones.map { -$0 }, c, x, source, value)
            case (.divide, false): scale(node, c.map { 1 / $0 }, zeros, x, source, value)
            case (.divide, true): throw unsupported("with a constant that is divided")
            }
            return
        }
        let other = try self.value(node.inputs[1])
        let result = try Self.extents(graph.shape(of: value))
        if binary == .add, e == extents(other), e == result, x != node.inputs[1] {
            // The operand that is computed last takes the other in.
            for (mine, its) in [(x, other), (node.inputs[1], source)] {
                guard let position = producer(of: mine), its <= position, layers[position].residual == nil,
                    layers[position].second == .none
                else { continue }
                if case .other = layers[position].operation { continue }
                layers[position].residual = its
                bind(value, to: position + 1)
                return
            }
        }
        let isByChannel = extents(other) == Extents(channels: e.channels, height: 1, width: 1)
        guard e == result, e == extents(other) || isByChannel else {
            throw unsupported("of \(e) and \(extents(other))")
        }
        append(node, .other(.binary(binary)), [source, other], result, as: value)
    }
}
