internal import Model

extension Exporter {
    /// Writes an operator, and returns the name of its value.
    func write(_ n: Graph.Node, isLast: Bool) throws -> String {
        let inputs = n.inputs.map { name($0) }
        let x = inputs[0]
        let extents = shape(n.inputs[0])
        let output = isLast ? "embedding" : nil
        func one(_ type: String, _ inputs: [String], _ attributes: [(String, Attribute)] = []) -> String {
            node(type, n.name, inputs, attributes, output: output)
        }
        func scalar(_ name: String, _ value: Float) -> String { floats("\(n.name).\(name)", [], [value]) }

        switch n.operation {
        case .convolution(let c):
            let kernel = Array(shape(c.weight)[2...])
            return one(
                "Conv", [x, tensor(c.weight)] + (c.bias.map { [tensor($0)] } ?? []),
                [
                    ("dilations", .integers([c.dilation.height, c.dilation.width])), ("group", .integer(c.groups)),
                    ("kernel_shape", .integers(kernel)), ("pads", pads(c.padding)),
                    ("strides", .integers([c.strides.height, c.strides.width])),
                ])
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
            let turned = node("Transpose", "\(n.name).transpose", [tensor(weight)], [("perm", .integers([1, 0]))])
            guard let bias else { return one("MatMul", [x, turned]) }
            let product = node("MatMul", n.name, [x, turned])
            return node("Add", "\(n.name).add", [product, tensor(bias)], output: output)
        case .activation(let activation):
            switch activation {
            case .relu: return one("Relu", [x])
            case .clip(let low, let high): return one("Clip", [x, scalar("min", low), scalar("max", high)])
            case .leakyRelu(let slope): return one("LeakyRelu", [x], [("alpha", .float(slope))])
            case .sigmoid: return one("Sigmoid", [x])
            case .tanh: return one("Tanh", [x])
            case .hardSigmoid: return one("HardSigmoid", [x], [("alpha", .float(1 / 6)), ("beta", .float(0.5))])
            case .hardSwish: return one("HardSwish", [x])
            case .gelu:
                // Gelu is an operator from set 20 on.
                let y = node("Div", "\(n.name).div", [x, scalar("sqrt2", Float(2).squareRoot())])
                let z = node("Add", "\(n.name).plus", [node("Erf", "\(n.name).erf", [y]), scalar("one", 1)])
                return one("Mul", [node("Mul", "\(n.name).mul", [x, z]), scalar("half", 0.5)])
            case .silu: return one("Mul", [x, node("Sigmoid", "\(n.name).sigmoid", [x])])
            }
        case .prelu(let slope):
            return one(
                "PRelu", [x, tensor(slope, shape: [graphCount(slope)] + extents.dropFirst().map { _ in 1 })])
        case .binary(let binary, let constant):
            let type = [Graph.Binary.add: "Add", .subtract: "Sub", .multiply: "Mul", .divide: "Div"][binary] ?? "Add"
            guard let constant else { return one(type, inputs) }
            let other = tensor(constant.parameter)
            return one(type, constant.isFirst ? [other, x] : [x, other])
        case .concatenation(let axis): return one("Concat", inputs, [("axis", .integer(axis + 1))])
        case .slice(let axis, let range):
            return one(
                "Slice",
                [
                    x, integers("\(n.name).start", [range.lowerBound]), integers("\(n.name).end", [range.upperBound]),
                    integers("\(n.name).axis", [axis + 1]),
                ])
        case .pooling(let p):
            var attributes: [(String, Attribute)] = [
                ("ceil_mode", .integer(p.roundsUp ? 1 : 0)),
                ("kernel_shape", .integers([p.kernel.height, p.kernel.width])),
                ("pads", pads(p.padding)), ("strides", .integers([p.strides.height, p.strides.width])),
            ]
            if p.kind == .average { attributes.append(("count_include_pad", .integer(p.countsPadding ? 1 : 0))) }
            return one(p.kind == .average ? "AveragePool" : "MaxPool", [x], attributes)
        case .globalPooling(let kind): return one(kind == .average ? "GlobalAveragePool" : "GlobalMaxPool", [x])
        case .reshape(let target):
            if target.count == 1 { return one("Flatten", [x], [("axis", .integer(1))]) }
            return one("Reshape", [x, integers("\(n.name).shape", [-1] + target)])
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

    private func pads(_ p: Graph.Padding) -> Attribute { .integers([p.top, p.left, p.bottom, p.right]) }
}
