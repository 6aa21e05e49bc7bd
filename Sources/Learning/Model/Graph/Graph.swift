/// A network as data: named parameters, typed operators, values with shapes.
///
/// A builder makes it (`GraphBuilder`, `Graph.iresnet`, `Graph.mobileFaceNet`), or a file. Executors run it; nothing else in the
/// project knows an architecture. Every node makes one value, and nodes stand in an order in which they can be executed.
///
/// ```swift
/// var builder = GraphBuilder(name: "tiny", input: [3, 112, 112])
/// let x = try builder.convolution("conv1", builder.input, outputs: 64, kernel: 3, padding: 1)
/// let graph = try builder.finish(builder.flatten("flatten", x))
/// ```
public struct Graph: Sendable, Hashable {
    /// What a node reads or makes: the input, or the output of a node. Shapes are those of one sample; the batch stands before them.
    public struct Value: Sendable, Hashable {
        /// 0: the input; i + 1: what node i makes.
        public let index: Int

        public init(index: Int) { self.index = index }

        /// What the network is given.
        public static let input = Value(index: 0)
        /// The node that makes it; nil for the input.
        public var node: Int? { index > 0 ? index - 1 : nil }
    }

    /// A parameter by its place in `parameters`.
    public struct ParameterID: Sendable, Hashable {
        public let index: Int

        public init(index: Int) { self.index = index }
    }

    /// One named tensor of the network.
    public struct Parameter: Sendable, Hashable {
        public let name: String
        public let shape: [Int]
        public let kind: ParameterLayout.Kind
        public let initializer: ParameterLayout.Initializer

        public init(
            name: String, shape: [Int], kind: ParameterLayout.Kind, initializer: ParameterLayout.Initializer
        ) {
            self.name = name
            self.shape = shape
            self.kind = kind
            self.initializer = initializer
        }

        public var count: Int { shape.reduce(1, *) }
    }

    /// One operator.
    public struct Node: Sendable, Hashable {
        public let name: String
        public let operation: Operation
        public let inputs: [Value]

        public init(name: String, operation: Operation, inputs: [Value]) {
            self.name = name
            self.operation = operation
            self.inputs = inputs
        }
    }

    public let name: String
    public let nodes: [Node]
    /// In the order of the flat vector.
    public let parameters: [Parameter]
    public let output: Value
    /// Of every value, by its index: extents of one sample, without the batch.
    public let shapes: [[Int]]

    init(name: String, nodes: [Node], parameters: [Parameter], output: Value, shapes: [[Int]]) {
        self.name = name
        self.nodes = nodes
        self.parameters = parameters
        self.output = output
        self.shapes = shapes
    }

    /// The shape of a sample of the input, [channels, height, width] of images.
    public var inputShape: [Int] { shapes[0] }
    /// The shape of a sample of the output.
    public var outputShape: [Int] { shapes[output.index] }

    public subscript(parameter: ParameterID) -> Parameter { parameters[parameter.index] }

    public func shape(of value: Value) -> [Int] { shapes[value.index] }

    /// Whether training can drop numbers somewhere.
    public var hasDropout: Bool { nodes.contains { $0.operation == .dropout } }

    /// The nodes that read each value, by the value's index.
    public var consumers: [[Int]] {
        var result = [[Int]](repeating: [], count: nodes.count + 1)
        for (position, node) in nodes.enumerated() {
            for input in node.inputs { result[input.index].append(position) }
        }
        return result
    }
}
