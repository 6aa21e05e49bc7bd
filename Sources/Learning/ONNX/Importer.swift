internal import COnnx
internal import Model
internal import ProcessSupport
internal import Tensors

/// Makes a graph of a file, node by node.
///
/// Values that depend on the input become values of the graph, whose batch is open; what is known before (weights, shapes) is
/// folded. A node reads only what stood before it, so a cycle is a name that is not there.
struct Importer {
    /// What a name of the file stands for.
    enum Known {
        case value(Graph.Value)
        /// A value with zeros around it, which the convolution that reads it makes.
        case padded(Graph.Value, Graph.Padding)
        case constant(Constant)
        /// erf(x/√2), or 1 more, or x times that, or x/2: the steps of a GELU written out.
        case erf(Graph.Value)
        case erfPlusOne(Graph.Value)
        case twiceGELU(Graph.Value)
        /// (erf(x/√2) + 1)/2, which times x is a GELU.
        case halfErfPlusOne(Graph.Value)
        /// A step of a layer normalisation written out.
        case normalization(NormalizationStep, Graph.Value, axes: Int)
        /// What QuantizeLinear and DequantizeLinear make of a value.
        case codes(EncodedValue)
        case decoded(DecodedValue)
    }

    let message: ModelMessage
    let opset: Int
    var builder: GraphBuilder
    var known: [String: Known] = [:]
    /// The values of the builder's parameters.
    var weights: [Constant] = []
    /// The batch that the file is fixed to.
    var fixedBatch: Int?
    /// The nodes that read a name.
    var readers: [String: [Int]] = [:]
    var nodes: [FileNode] = []
    /// Nodes that an earlier one has taken in.
    var done: Set<Int> = []
    /// Layer normalisations that were written out.
    var normalized: [Graph.Value: Normalized] = [:]
    /// Node by node, what made the values of the builder.
    var made: [Graph.Node] = []
    /// The nodes of the graph that are computed in integers, by name.
    var integerNodes: [String: IntegerNode] = [:]
    private var names: Set<String> = []
    /// Of names that several have: the number that the next parameter or layer of that name gets.
    private var parameterNumbers: [String: Int] = [:]
    var layerNumbers: [String: Int] = [:]
    /// Elements that folding may still make.
    private var foldingLeft: Int
    /// Elements of all tensors of the file, and of its constants.
    var storedCount: Int

    /// What a file holds.
    struct Result {
        let graph: Graph
        /// Codes, for nodes in integers.
        let parameters: Tensor
        let integers: [String: IntegerNode]
    }

    static func read(_ message: ModelMessage, openHeight: Int, openWidth: Int) throws -> Result {
        let proto = message.graph
        var opset: Int?
        for entry in array(message.model.pointee.opset_import, message.model.pointee.n_opset_import) {
            if let entry, ["", "ai.onnx"].contains(string(entry.pointee.domain)) { opset = Int(entry.pointee.version) }
        }
        guard let opset, ONNXFile.opsets.contains(opset) else {
            throw Problem(
                "has operator set \(opset.map(String.init) ?? "none"); \(ONNXFile.opsets.lowerBound) to \(ONNXFile.opsets.upperBound) are read: export it with one of them"
            )
        }
        guard max(proto.n_node, proto.n_initializer) <= GraphBuilder.limit else {
            throw Problem("has more than \(GraphBuilder.limit) nodes or tensors")
        }
        var constants: [String: Known] = [:]
        for tensor in array(proto.initializer, proto.n_initializer) {
            guard let tensor else { continue }
            let name = string(tensor.pointee.name)
            let stored = try StoredTensor(tensor.pointee, name: name, of: message)
            guard
                constants.updateValue(
                    .constant(.init(name: name, shape: stored.shape, content: .stored(stored))), forKey: name) == nil
            else { throw Problem("two tensors are named \(name)") }
        }
        let inputs = array(proto.input, proto.n_input).compactMap { $0?.pointee }
            .filter { constants[string($0.name)] == nil }
        guard inputs.count == 1, let input = inputs.first, proto.n_output == 1, let output = proto.output?[0] else {
            throw Problem("has \(inputs.count) inputs and \(proto.n_output) outputs; a backbone has one of each")
        }
        let (shape, batch) = try inputShape(input, openHeight: openHeight, openWidth: openWidth)
        let title = string(proto.name).printable
        var importer = Importer(
            message: message, opset: opset,
            builder: try GraphBuilder(name: title.isEmpty || title == "identity" ? "imported" : title, input: shape),
            constants: constants,
            fixedBatch: batch)
        importer.known[string(input.name)] = .value(.input)
        for (position, node) in array(proto.node, proto.n_node).enumerated() {
            if let node { importer.nodes.append(try FileNode(node.pointee, position: position)) }
        }
        for (position, node) in importer.nodes.enumerated() {
            for name in node.inputs { importer.readers[name, default: []].append(position) }
        }
        for position in importer.nodes.indices where !importer.done.contains(position) {
            try importer.importNode(position)
        }
        switch importer.known[string(output.pointee.name)] {
        case .value(let result): return try importer.finish(result)
        case .decoded(let result): return try importer.finish(result.held)
        default: throw Problem("no node makes its output \(string(output.pointee.name))")
        }
    }

    private init(
        message: ModelMessage, opset: Int, builder: GraphBuilder, constants: [String: Known], fixedBatch: Int?
    ) {
        self.message = message
        self.opset = opset
        self.builder = builder
        known = constants
        self.fixedBatch = fixedBatch
        foldingLeft = message.byteCount + (1 << 20)
        storedCount = constants.values.reduce(0) { sum, known in
            if case .constant(let constant) = known { sum + constant.count } else { sum }
        }
    }

    /// The shape of a sample, and the batch if it is fixed.
    private static func inputShape(
        _ input: Onnx__ValueInfoProto, openHeight: Int, openWidth: Int
    ) throws -> (shape: [Int], batch: Int?) {
        let name = string(input.name)
        guard let type = input.type?.pointee.tensor_type?.pointee, let proto = type.shape?.pointee else {
            throw Problem("its input \(name) is no tensor with a shape")
        }
        guard [1, 10, 11, 16].contains(type.elem_type) else {
            throw Problem("its input \(name) has elements of type \(type.elem_type), not floats")
        }
        let extents = array(proto.dim, proto.n_dim).compactMap { $0?.pointee }.map { Int($0.dim_value) }
        guard (2...5).contains(extents.count) else {
            throw Problem("its input \(name) has \(extents.count) axes; [batch, channels, height, width] is read")
        }
        var shape = Array(extents.dropFirst())
        for axis in shape.indices where shape[axis] <= 0 {
            guard shape.count == 3, axis > 0 else { throw Problem("its input \(name) leaves axis \(axis + 1) open") }
            shape[axis] = axis == 1 ? openHeight : openWidth
        }
        return (shape, extents[0] > 0 ? extents[0] : nil)
    }

    private mutating func importNode(_ position: Int) throws {
        let node = nodes[position]
        do {
            guard ["", "ai.onnx"].contains(node.domain) else { throw Problem("its domain \(node.domain) is not known") }
            guard let name = node.outputs.first, !name.isEmpty else { throw Problem("it has no output") }
            let results = try results(of: node)
            for (output, result) in zip(node.outputs, results) where !output.isEmpty {
                guard known.updateValue(result, forKey: output) == nil else {
                    throw Problem("its output \(output) has been made before")
                }
            }
        } catch let problem as Problem {
            throw Problem("\(node.type) \(node.name) (operator set \(opset)): \(problem.text)")
        } catch let error as BackboneError {
            throw Problem("\(node.type) \(node.name) (operator set \(opset)): \(error.message)")
        }
    }

    private func finish(_ output: Graph.Value) throws -> Result {
        // Only what the output depends on.
        var isNeeded = [Bool](repeating: false, count: made.count + 1)
        isNeeded[output.index] = true
        for position in made.indices.reversed() where isNeeded[position + 1] {
            for input in made[position].inputs { isNeeded[input.index] = true }
        }
        var graph = try GraphBuilder(name: builder.name, input: builder.shape(of: .input))
        var parameters: [Int: Graph.ParameterID] = [:]
        var values: [Int: Graph.Value] = [0: .input]
        var kept: [Constant] = []
        for (position, node) in made.enumerated() where isNeeded[position + 1] {
            for id in node.operation.parameters where parameters[id.index] == nil {
                let parameter = builder.parameters[id.index]
                parameters[id.index] = graph.parameter(
                    parameter.name, parameter.shape, parameter.kind, parameter.initializer)
                kept.append(weights[id.index])
            }
            values[position + 1] = try graph.add(
                node.name, node.operation.renumbered { parameters[$0.index] ?? $0 },
                node.inputs.compactMap { values[$0.index] })
        }
        guard let last = values[output.index] else { throw Problem("no node makes its output") }
        let result = try graph.finish(last)
        let count = kept.reduce(0) { $0 + $1.count }
        // A tensor that many nodes read is a parameter of each.
        guard count <= 4 * storedCount + (1 << 20) else {
            throw Problem("its nodes read \(count) weights, and it holds \(storedCount)")
        }
        let flat = Tensor(uninitialized: Float.self, shape: [count])
        var start = 0
        for weight in kept {
            let elements = try weight.floats()
            guard elements.count == weight.count, elements.allSatisfy(\.isFinite) else {
                throw Problem("tensor \(weight.name) is not finite")
            }
            flat.withMutablePointer(Float.self) {
                _ = UnsafeMutableBufferPointer(rebasing: $0[start..<start + elements.count]).update(
                    fromContentsOf: elements)
            }
            start += elements.count
        }
        return Result(graph: result, parameters: flat, integers: integerNodes)
    }

    // What the operators are made with.

    /// Adds an operator to the graph.
    mutating func add(_ name: String, _ operation: Graph.Operation, _ inputs: [Graph.Value]) throws -> Graph.Value {
        let value = try builder.add(name, operation, inputs)
        made.append(Graph.Node(name: name, operation: operation, inputs: inputs))
        return value
    }

    /// Adds a parameter with these values.
    mutating func parameter(
        _ constant: Constant, shape: [Int]? = nil, _ kind: ParameterLayout.Kind = .parameter
    ) -> Graph.ParameterID {
        var name = constant.name
        var number = parameterNumbers[constant.name] ?? 2
        while !names.insert(name).inserted {
            name = "\(constant.name)#\(number)"
            number += 1
        }
        parameterNumbers[constant.name] = number
        weights.append(constant)
        return builder.parameter(name, shape ?? constant.shape, kind)
    }

    /// Takes the elements of a folded constant out of what the file may make.
    mutating func charge(_ count: Int) throws {
        foldingLeft -= count
        guard foldingLeft >= 0 else { throw Problem("the file computes more constants than it is large") }
    }

    func input(_ node: FileNode, _ index: Int) throws -> Known {
        guard let name = node.input(index) else { throw Problem("input \(index) is missing") }
        guard let found = known[name] else { throw Problem("reads \(name), which no node before it makes") }
        return found
    }

    func value(_ node: FileNode, _ index: Int = 0) throws -> Graph.Value {
        switch try input(node, index) {
        case .value(let value): return value
        case .decoded(let decoded): return decoded.held
        case .codes: throw Problem("its input is codes, which only DequantizeLinear reads")
        case .padded: throw Problem("padding is read by convolutions and average pooling only")
        case .constant: throw Problem("input \(index) is a constant, where a value is needed")
        case .normalization: throw Problem("a step of a layer normalisation is read as part of it only")
        default: throw Problem("an error function is read as part of a GELU only")
        }
    }

    func constant(_ node: FileNode, _ index: Int) throws -> Constant? {
        guard node.input(index) != nil else { return nil }
        guard case .constant(let constant) = try input(node, index) else {
            throw Problem("input \(index) depends on the image; a constant is needed")
        }
        return constant
    }

    func required(_ node: FileNode, _ index: Int) throws -> Constant {
        guard let constant = try constant(node, index) else { throw Problem("input \(index) is missing") }
        return constant
    }

    /// One number.
    func scalar(_ node: FileNode, _ index: Int) throws -> Float? {
        guard let constant = try constant(node, index) else { return nil }
        guard constant.count == 1, let value = try constant.floats().first, !value.isNaN else {
            throw Problem("input \(index) is not one number")
        }
        return value
    }

    /// Integers of an attribute, or of an input where later operator sets have it.
    func integers(_ node: FileNode, _ attribute: String, input: Int) throws -> [Int]? {
        try node.integers(attribute) ?? constant(node, input)?.integers()
    }

    func shape(_ value: Graph.Value) -> [Int] { builder.shape(of: value) }

    /// The axis of a sample that an axis of the file is; the batch is refused.
    func axis(_ axis: Int, _ value: Graph.Value) throws -> Int {
        let rank = shape(value).count + 1
        let result = axis < 0 ? axis &+ rank : axis
        guard (0..<rank).contains(result) else { throw Problem("axis \(axis) of \(rank) axes") }
        guard result > 0 else { throw Problem("axis \(axis) is the batch") }
        return result - 1
    }
}

extension Graph.Operation {
    /// The operation with other parameters.
    func renumbered(_ map: (Graph.ParameterID) -> Graph.ParameterID) -> Self {
        switch self {
        case .convolution(var c):
            c.weight = map(c.weight)
            c.bias = c.bias.map(map)
            return .convolution(c)
        case .batchNormalization(var n):
            (n.weight, n.bias, n.mean, n.variance) = (map(n.weight), map(n.bias), map(n.mean), map(n.variance))
            return .batchNormalization(n)
        case .linear(let weight, let bias): return .linear(weight: map(weight), bias: bias.map(map))
        case .prelu(let slope): return .prelu(slope: map(slope))
        case .binary(let binary, let constant):
            return .binary(binary, constant: constant.map { .init(map($0.parameter), isFirst: $0.isFirst) })
        case .layerNormalization(let weight, let bias, let epsilon):
            return .layerNormalization(weight: map(weight), bias: bias.map(map), epsilon: epsilon)
        default: return self
        }
    }
}
