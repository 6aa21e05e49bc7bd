/// Builds a graph node by node; shapes are checked as they come.
public struct GraphBuilder: Sendable {
    public let name: String
    private var nodes: [Graph.Node] = []
    private var shapes: [[Int]]
    public private(set) var parameters: [Graph.Parameter] = []

    /// The most nodes and the most parameters a graph may have.
    public static let limit = 100_000

    /// - Parameter input: the shape of a sample, [channels, height, width] of images.
    /// - Throws: `BackboneError` if it is empty or too large.
    public init(name: String, input: [Int]) throws(BackboneError) {
        guard !input.isEmpty, ShapeInference.product(input) != nil else {
            throw BackboneError(.invalidConfiguration, "\(name): an input of \(input) is empty or too large")
        }
        self.name = name
        shapes = [input]
    }

    public func shape(of value: Graph.Value) -> [Int] { shapes[value.index] }

    /// Adds a parameter at the end of the flat vector.
    public mutating func parameter(
        _ name: String, _ shape: [Int], _ kind: ParameterLayout.Kind = .parameter,
        _ initializer: ParameterLayout.Initializer = .constant(0)
    ) -> Graph.ParameterID {
        parameters.append(.init(name: name, shape: shape, kind: kind, initializer: initializer))
        return Graph.ParameterID(index: parameters.count - 1)
    }

    /// Adds an operator.
    ///
    /// - Throws: `BackboneError` that names the node if it does not fit its inputs.
    public mutating func add(
        _ name: String, _ operation: Graph.Operation, _ inputs: Graph.Value...
    ) throws(BackboneError) -> Graph.Value {
        try add(name, operation, inputs)
    }

    /// Adds an operator of any number of inputs.
    ///
    /// - Throws: `BackboneError` that names the node if it does not fit its inputs.
    public mutating func add(
        _ name: String, _ operation: Graph.Operation, _ inputs: [Graph.Value]
    ) throws(BackboneError) -> Graph.Value {
        func fail(_ problem: String) -> BackboneError {
            BackboneError(.invalidConfiguration, "\(self.name): \(operation.title) \(name): \(problem)")
        }
        guard nodes.count < Self.limit, parameters.count <= Self.limit else {
            throw fail("more than \(Self.limit) operators or parameters")
        }
        guard inputs.allSatisfy({ shapes.indices.contains($0.index) }) else { throw fail("an input that is not there") }
        let shape: [Int]
        do {
            shape = try ShapeInference(parameters: parameters).shape(of: operation, inputs.map { shapes[$0.index] })
        } catch { throw fail(error.message) }
        nodes.append(.init(name: name, operation: operation, inputs: inputs))
        shapes.append(shape)
        return Graph.Value(index: nodes.count)
    }

    /// The graph with this output.
    ///
    /// - Throws: `BackboneError` if two parameters have one name, or together too many elements.
    public mutating func finish(_ output: Graph.Value) throws(BackboneError) -> Graph {
        func fail(_ problem: String) -> BackboneError { BackboneError(.invalidConfiguration, "\(name): \(problem)") }
        guard shapes.indices.contains(output.index) else { throw fail("an output that is not there") }
        var names: Set<String> = []
        var count = 0
        for parameter in parameters {
            guard names.insert(parameter.name).inserted else { throw fail("two parameters named \(parameter.name)") }
            guard let elements = ShapeInference.product(parameter.shape) ?? (parameter.shape.isEmpty ? 1 : nil) else {
                throw fail("parameter \(parameter.name) of \(parameter.shape) is empty or too large")
            }
            count += elements
        }
        guard count < 1 << 31 else { throw fail("\(count) parameters are more than 2^31") }
        return Graph(name: name, nodes: nodes, parameters: parameters, output: output, shapes: shapes)
    }
}

// What the networks consist of. Names are those of PyTorch's modules.
extension GraphBuilder {
    /// A convolution without bias; its weight starts from `initializer`.
    mutating func convolution(
        _ name: String, _ x: Graph.Value, outputs: Int, kernel: Int, stride: Int = 1, padding: Int? = nil,
        groups: Int = 1, initializer: ParameterLayout.Initializer
    ) throws(BackboneError) -> Graph.Value {
        let inputs = shape(of: x)[0]
        let weight = parameter(
            "\(name).weight", [outputs, inputs / groups, kernel, kernel], .parameter, initializer)
        return try add(
            name,
            .convolution(
                .init(
                    weight: weight, bias: nil, strides: .init(stride), padding: .init(padding ?? kernel / 2),
                    dilation: .init(1), groups: groups)), x)
    }

    /// A batch normalisation over the first axis.
    mutating func normalization(
        _ name: String, _ x: Graph.Value, weight kind: ParameterLayout.Kind = .parameter
    ) throws(BackboneError) -> Graph.Value {
        let channels = [shape(of: x)[0]]
        let weight = parameter("\(name).weight", channels, kind, .constant(1))
        let bias = parameter("\(name).bias", channels)
        let mean = parameter("\(name).running_mean", channels, .statistic)
        let variance = parameter("\(name).running_var", channels, .statistic, .constant(1))
        return try add(
            name,
            .batchNormalization(
                .init(
                    weight: weight, bias: bias, mean: mean, variance: variance, epsilon: BackboneConfiguration.epsilon)),
            x)
    }

    /// A PReLU with a slope for each channel, which starts at 0.25.
    mutating func prelu(_ name: String, _ x: Graph.Value) throws(BackboneError) -> Graph.Value {
        let slope = parameter("\(name).weight", [shape(of: x)[0]], .parameter, .constant(0.25))
        return try add(name, .prelu(slope: slope), x)
    }

    /// A linear layer.
    mutating func linear(
        _ name: String, _ x: Graph.Value, outputs: Int, bias: Bool, initializer: ParameterLayout.Initializer
    ) throws(BackboneError) -> Graph.Value {
        let inputs = shape(of: x).last ?? 1
        let weight = parameter("\(name).weight", [outputs, inputs], .parameter, initializer)
        let offset = bias ? parameter("\(name).bias", [outputs], .parameter, initializer) : nil
        return try add(name, .linear(weight: weight, bias: offset), x)
    }

    /// One vector a sample.
    mutating func flatten(_ name: String, _ x: Graph.Value) throws(BackboneError) -> Graph.Value {
        try add(name, .reshape([shape(of: x).reduce(1, *)]), x)
    }

    /// a + b.
    mutating func sum(_ name: String, _ a: Graph.Value, _ b: Graph.Value) throws(BackboneError) -> Graph.Value {
        try add(name, .binary(.add, constant: nil), a, b)
    }
}
