internal import Model

extension Exporter {
    /// Writes an operator, and returns the name of its value.
    func write(_ n: Graph.Node, isLast: Bool) throws -> String {
        let inputs = n.inputs.map { name($0) }
        let x = inputs[0]
        let extents = shape(n.inputs[0])
        let output = isLast ? ModelWriter.output : nil
        func one(_ type: String, _ inputs: [String], _ attributes: [(String, ModelWriter.Attribute)] = []) -> String {
            file.node(type, n.name, inputs, attributes, output: output)
        }

        switch n.operation {
        case .convolution(let c):
            let kernel = shape(c.weight)
            return one(
                "Conv", [x, tensor(c.weight)] + (c.bias.map { [tensor($0)] } ?? []),
                file.window(
                    kernel: .init(kernel[2], kernel[3]), strides: c.strides, padding: c.padding, dilation: c.dilation,
                    groups: c.groups))
        case .batchNormalization(let b):
            return one(
                "BatchNormalization", [x] + [b.weight, b.bias, b.mean, b.variance].map { tensor($0) },
                [("epsilon", .float(b.epsilon))])
        case .linear(let weight, let bias):
            if extents.count == 1 {
                return one(
                    "Gemm", [x, tensor(weight)] + (bias.map { [tensor($0)] } ?? []),
                    [("alpha", .float(1)), ("beta", .float(1)), ("transB", .integer(1))])
            }
            let turned = file.node("Transpose", "\(n.name).transpose", [tensor(weight)], [("perm", .integers([1, 0]))])
            guard let bias else { return one("MatMul", [x, turned]) }
            let product = file.node("MatMul", n.name, [x, turned])
            return file.node("Add", "\(n.name).add", [product, tensor(bias)], output: output)
        case .activation(let activation): return file.activation(activation, n.name, x, output: output)
        case .prelu(let slope):
            return one(
                "PRelu", [x, tensor(slope, shape: [graphCount(slope)] + extents.dropFirst().map { _ in 1 })])
        case .binary(let binary, let constant):
            let type = ModelWriter.type(binary)
            guard let constant else { return one(type, inputs) }
            let other = tensor(constant.parameter)
            return one(type, constant.isFirst ? [other, x] : [x, other])
        case .concatenation(let axis): return one("Concat", inputs, [("axis", .integer(axis + 1))])
        case .slice(let axis, let range): return file.slice(n.name, x, axis: axis + 1, range, output: output)
        case .pooling(let p): return file.pooling(p, n.name, x, output: output)
        case .globalPooling(let kind): return one(kind == .average ? "GlobalAveragePool" : "GlobalMaxPool", [x])
        case .reshape(let target):
            if target.count == 1 { return one("Flatten", [x], [("axis", .integer(1))]) }
            return one("Reshape", [x, file.integers("\(n.name).shape", [-1] + target)])
        case .transpose(let order): return one("Transpose", [x], [("perm", .integers([0] + order.map { $0 + 1 }))])
        case .matrixProduct: return one("MatMul", inputs)
        case .softmax(let axis): return one("Softmax", [x], [("axis", .integer(axis + 1))])
        case .layerNormalization(let weight, let bias, let epsilon):
            return one(
                "LayerNormalization", [x, tensor(weight)] + (bias.map { [tensor($0)] } ?? []),
                [("axis", .integer(-shape(weight).count)), ("epsilon", .float(epsilon))])
        case .dropout: return x
        }
    }

    private func graphCount(_ id: Graph.ParameterID) -> Int { shape(id).reduce(1, *) }
}
