internal import COnnx
internal import Model

extension Importer {
    /// A matrix [a, b] as [b, a].
    private func transposed(_ constant: Constant) throws -> Constant {
        guard constant.shape.count == 2 else { throw Problem("a weight of \(constant.shape) is no matrix") }
        var result = constant
        result.shape = constant.shape.reversed()
        result.isTransposed.toggle()
        return result
    }

    /// A vector of `count`, widened if it is one number; times `factor`.
    private mutating func vector(_ constant: Constant, _ count: Int, times factor: Float = 1) throws -> Constant? {
        guard constant.shape.dropLast().allSatisfy({ $0 == 1 }), constant.count == count || constant.count == 1 else {
            return nil
        }
        var result = constant
        result.shape = [count]
        if constant.count != count || factor != 1 {
            try charge(count)
            let values = try constant.floats().map { $0 * factor }
            result.content = .floats(values.count == count ? values : .init(repeating: values.first ?? 0, count: count))
            result.isTransposed = false
        }
        return result
    }

    mutating func gemm(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        guard node.integer("transA", 0) == 0, shape(x).count == 1 else {
            throw Problem("only x·W + b of vectors is read")
        }
        var weight = try required(node, 1)
        if node.integer("transB", 0) == 0 { weight = try transposed(weight) }
        guard weight.shape.count == 2 else { throw Problem("a weight of \(weight.shape) is no matrix") }
        let alpha = node.float("alpha", 1)
        if alpha != 1 {
            try charge(weight.count)
            weight.content = .floats(try weight.floats().map { $0 * alpha })
            weight.isTransposed = false
        }
        var bias: Constant?
        if let stored = try constant(node, 2) {
            bias = try vector(stored, weight.shape[0], times: node.float("beta", 1))
            guard bias != nil else { throw Problem("a bias of \(stored.shape) for \(weight.shape[0]) outputs") }
        }
        let integer = try integerLayer(
            node, &weight, outputs: weight.shape[0], axis: weight.isTransposed ? 1 : 0)
        let id = parameter(weight)
        return try add(
            integer?.name ?? node.name, .linear(weight: id, bias: bias.map { parameter($0) }), [integer?.input ?? x])
    }

    mutating func matrixProduct(_ node: FileNode) throws -> Known {
        let x = try value(node)
        guard case .constant(let stored) = try input(node, 1) else {
            return .value(try add(node.name, .matrixProduct, [x, value(node, 1)]))
        }
        var weight = try transposed(stored)
        let integer = try integerLayer(
            node, &weight, outputs: weight.shape[0], axis: weight.isTransposed ? 1 : 0)
        let (name, source) = (integer?.name ?? node.name, integer?.input ?? x)
        var bias: Constant?
        // PyTorch's linear layers are a product and a sum.
        if let output = node.outputs.first, let next = readers[output], next.count == 1,
            nodes[next[0]].type == "Add", nodes[next[0]].inputs.count == 2, nodes[next[0]].outputs.count == 1,
            output != string(message.graph.output?[0]?.pointee.name)
        {
            let sum = nodes[next[0]]
            let other = sum.inputs[0] == output ? 1 : 0
            if case .constant(let constant)? = known[sum.inputs[other]], constant.count == weight.shape[0],
                let found = try vector(constant, weight.shape[0]), constant.shape.count <= shape(x).count + 1,
                known[sum.outputs[0]] == nil
            {
                bias = found
                let id = parameter(weight)
                let y = try add(name, .linear(weight: id, bias: bias.map { parameter($0) }), [source])
                known[sum.outputs[0]] = .value(y)
                done.insert(next[0])
                return .value(y)
            }
        }
        return .value(try add(name, .linear(weight: parameter(weight), bias: nil), [source]))
    }
}
