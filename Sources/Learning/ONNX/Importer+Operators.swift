internal import Model

extension Importer {
    /// What the outputs of a node are.
    mutating func results(of node: FileNode) throws -> [Known] {
        if let folded = try fold(node) { return [folded] }
        if let step = try normalization(node) { return [step] }
        func activation(_ activation: Graph.Activation) throws -> [Known] {
            .init([.value(try add(node.name, .activation(activation), [value(node)]))])
        }
        switch node.type {
        case "Conv": return [.value(try convolution(node))]
        case "BatchNormalization": return [.value(try batchNormalization(node))]
        case "Gemm": return [.value(try gemm(node))]
        case "MatMul": return [try matrixProduct(node)]
        case "LayerNormalization": return [.value(try layerNormalization(node))]
        case "Relu": return try activation(.relu)
        case "Sigmoid": return try activation(.sigmoid)
        case "Tanh": return try activation(.tanh)
        case "HardSwish": return try activation(.hardSwish)
        case "LeakyRelu": return try activation(.leakyRelu(node.float("alpha", 0.01)))
        case "Gelu":
            guard node.text("approximate") ?? "none" == "none" else { throw Problem("only the exact GELU is read") }
            return try activation(.gelu)
        case "Clip": return [try clip(node)]
        case "HardSigmoid": return [.value(try hardSigmoid(node))]
        case "PRelu": return [.value(try prelu(node))]
        case "Erf": return [try erf(node)]
        case "Add", "Sub", "Mul", "Div": return [try binary(node)]
        case "Sum": return [.value(try sum(node))]
        case "Pow":
            guard try scalar(node, 1) == 2 else { throw Problem("an exponent that is not 2") }
            let x = try value(node)
            return [.value(try add(node.name, .binary(.multiply, constant: nil), [x, x]))]
        case "MaxPool", "AveragePool": return [.value(try pooling(node))]
        case "GlobalAveragePool", "GlobalMaxPool":
            let kind = node.type == "GlobalMaxPool" ? Graph.PoolingKind.maximum : .average
            return [.value(try add(node.name, .globalPooling(kind), [value(node)]))]
        case "ReduceMean", "ReduceMax": return [.value(try reduction(node))]
        case "QuantizeLinear": return [try quantized(node)]
        case "DequantizeLinear": return [try decoded(node)]
        case "Softmax": return [.value(try softmax(node))]
        case "Dropout":
            if let training = try constant(node, 2), try training.floats().first ?? 0 != 0 {
                throw Problem("it is in training mode")
            }
            return [.value(try add(node.name, .dropout, [value(node)]))]
        case "Identity", "Cast": return try [identity(node)]
        case "Pad": return [try pad(node)]
        case "Flatten", "Reshape", "Squeeze", "Unsqueeze": return [.value(try reshaped(node))]
        case "Transpose": return [.value(try transpose(node))]
        case "Concat":
            let inputs = try node.inputs.indices.map { try value(node, $0) }
            guard let first = inputs.first else { throw Problem("it has no inputs") }
            return [
                .value(try add(node.name, .concatenation(axis: axis(node.integer("axis", 0), first)), inputs))
            ]
        case "Split": return try split(node)
        case "Slice": return [.value(try slice(node))]
        case "Gather": return [.value(try gather(node))]
        default: throw Problem("this operator is not supported")
        }
    }

    private func identity(_ node: FileNode) throws -> Known {
        if node.type == "Cast", ![1, 10, 11, 16].contains(node.integer("to", 0)) {
            throw Problem("values of type \(node.integer("to", 0)) are not supported")
        }
        return try input(node, 0)
    }

    /// x and the zeros around it.
    private func padded(_ node: FileNode) throws -> (Graph.Value, Graph.Padding) {
        if case .padded(let x, let padding) = try input(node, 0) { return (x, padding) }
        return (try value(node), .zero)
    }

    /// An attribute of two numbers.
    private func pair(_ node: FileNode, _ name: String, _ other: [Int]) throws -> Graph.Extent {
        let pair = node.integers(name) ?? other
        guard pair.count == 2, pair.allSatisfy({ (1...1 << 16).contains($0) }) else {
            throw Problem("\(name) \(pair): two numbers of 1 to \(1 << 16) are read")
        }
        return .init(pair[0], pair[1])
    }

    /// `pads`, or what `auto_pad` makes of the extents.
    private func padding(
        _ node: FileNode, _ x: Graph.Value, kernel: Graph.Extent, strides: Graph.Extent, dilation: Graph.Extent
    ) throws -> Graph.Padding {
        let extents = shape(x)
        guard extents.count == 3 else { throw Problem("\(extents) is no image") }
        switch node.text("auto_pad") ?? "NOTSET" {
        case "NOTSET", "":
            let pads = node.integers("pads") ?? [0, 0, 0, 0]
            guard pads.count == 4, pads.allSatisfy({ (0...1 << 16).contains($0) }) else {
                throw Problem("pads \(pads): four numbers from 0 are read")
            }
            return .init(top: pads[0], left: pads[1], bottom: pads[2], right: pads[3])
        case "VALID": return .zero
        case let same where same == "SAME_UPPER" || same == "SAME_LOWER":
            func total(_ extent: Int, _ kernel: Int, _ stride: Int, _ dilation: Int) -> Int {
                max(0, ((extent + stride - 1) / stride - 1) * stride + dilation * (kernel - 1) + 1 - extent)
            }
            let high = total(extents[1], kernel.height, strides.height, dilation.height)
            let wide = total(extents[2], kernel.width, strides.width, dilation.width)
            let extra = same == "SAME_LOWER" ? 1 : 0
            let (top, left) = ((high + extra) / 2, (wide + extra) / 2)
            return .init(top: top, left: left, bottom: high - top, right: wide - left)
        case let other: throw Problem("auto_pad \(other) is not known")
        }
    }

    private func plus(_ a: Graph.Padding, _ b: Graph.Padding) -> Graph.Padding {
        .init(top: a.top + b.top, left: a.left + b.left, bottom: a.bottom + b.bottom, right: a.right + b.right)
    }

    private mutating func convolution(_ node: FileNode) throws -> Graph.Value {
        var weight = try required(node, 1)
        guard weight.shape.count == 4, !weight.isTransposed else {
            throw Problem("a weight of \(weight.shape); [outputs, inputs, height, width] is read")
        }
        let kernel = Graph.Extent(weight.shape[2], weight.shape[3])
        if let stated = node.integers("kernel_shape"), stated != [kernel.height, kernel.width] {
            throw Problem("kernel_shape \(stated) with a weight of \(weight.shape)")
        }
        guard (1...1 << 16).contains(kernel.height), (1...1 << 16).contains(kernel.width) else {
            throw Problem("a kernel of \(kernel.height)×\(kernel.width)")
        }
        let integer = try integerLayer(node, &weight, outputs: weight.shape[0], axis: 0)
        let (x, outside) = try integer.map { ($0.input, .zero) } ?? padded(node)
        let strides = try pair(node, "strides", [1, 1])
        let dilation = try pair(node, "dilations", [1, 1])
        let own = try padding(node, x, kernel: kernel, strides: strides, dilation: dilation)
        let id = parameter(weight)
        let bias = try constant(node, 2).map { parameter($0) }
        return try add(
            integer?.name ?? node.name,
            .convolution(
                .init(
                    weight: id, bias: bias, strides: strides, padding: plus(own, outside), dilation: dilation,
                    groups: node.integer("group", 1))), [x])
    }

    private mutating func pooling(_ node: FileNode) throws -> Graph.Value {
        let (x, outside) = try padded(node)
        let kernel = try pair(node, "kernel_shape", [])
        let strides = try pair(node, "strides", [1, 1])
        guard try pair(node, "dilations", [1, 1]) == .init(1) else { throw Problem("dilated pooling is not supported") }
        if node.outputs.count > 1, !node.outputs[1].isEmpty, readers[node.outputs[1]] != nil {
            throw Problem("indices of maxima are not supported")
        }
        var pads = try padding(node, x, kernel: kernel, strides: strides, dilation: .init(1))
        var counts = node.integer("count_include_pad", 0) != 0
        let roundsUp = node.integer("ceil_mode", 0) != 0
        if outside != .zero {
            guard node.type == "AveragePool", !roundsUp, pads == .zero || counts else {
                throw Problem("padding is read by convolutions and average pooling only")
            }
            pads = plus(pads, outside)
            counts = true
        }
        return try add(
            node.name,
            .pooling(
                .init(
                    kind: node.type == "MaxPool" ? .maximum : .average, kernel: kernel, strides: strides, padding: pads,
                    roundsUp: roundsUp, countsPadding: counts)), [x])
    }

    /// The mean or maximum of all pixels.
    private mutating func reduction(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        guard let axes = try integers(node, "axes", input: 1) else { throw Problem("over all axes, the batch too") }
        guard shape(x).count == 3, try axes.map({ try axis($0, x) }).sorted() == [1, 2] else {
            throw Problem("only over height and width; its axes are \(axes)")
        }
        let kind = node.type == "ReduceMax" ? Graph.PoolingKind.maximum : .average
        let y = try add(node.name, .globalPooling(kind), [x])
        return node.integer("keepdims", 1) != 0 ? y : try add("\(node.name).squeeze", .reshape([shape(x)[0]]), [y])
    }

    private mutating func pad(_ node: FileNode) throws -> Known {
        let (x, before) = try padded(node)
        guard node.text("mode") ?? "constant" == "constant" else { throw Problem("only padding with zeros is read") }
        let fill = try node.has("value") ? node.float("value", 0) : scalar(node, 2) ?? 0
        guard let pads = try integers(node, "pads", input: 1), node.input(3) == nil, pads.count == 8 else {
            throw Problem("four axes with two pads each are read")
        }
        if pads.allSatisfy({ $0 == 0 }) { return try input(node, 0) }
        guard fill == 0, [0, 1, 4, 5].allSatisfy({ pads[$0] == 0 }), pads.allSatisfy({ (0...1 << 16).contains($0) })
        else { throw Problem("only zeros around height and width are read; pads are \(pads)") }
        return .padded(x, plus(before, .init(top: pads[2], left: pads[3], bottom: pads[6], right: pads[7])))
    }

    private mutating func batchNormalization(_ node: FileNode) throws -> Graph.Value {
        guard node.integer("training_mode", 0) == 0 else {
            throw Problem("it is in training mode: export with model.eval()")
        }
        let x = try value(node)
        let tensors = try (1...4).map { try required(node, $0) }
        let ids = [
            parameter(tensors[0]), parameter(tensors[1]), parameter(tensors[2], .statistic),
            parameter(tensors[3], .statistic),
        ]
        return try add(
            node.name,
            .batchNormalization(
                .init(
                    weight: ids[0], bias: ids[1], mean: ids[2], variance: ids[3], epsilon: node.float("epsilon", 1e-5))),
            [x])
    }

    private mutating func layerNormalization(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        let weight = try required(node, 1)
        guard try shape(x).count - axis(node.integer("axis", -1), x) == weight.shape.count else {
            throw Problem("a scale of \(weight.shape) from axis \(node.integer("axis", -1))")
        }
        let id = parameter(weight)
        let bias = try constant(node, 2).map { parameter($0) }
        return try add(
            node.name, .layerNormalization(weight: id, bias: bias, epsilon: node.float("epsilon", 1e-5)), [x])
    }

    private mutating func prelu(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        var slope = try required(node, 1)
        let rank = shape(x).count
        var extents = slope.shape
        while extents.count > rank, extents.first == 1 { extents.removeFirst() }
        guard extents.count <= rank else { throw Problem("slopes of \(slope.shape)") }
        extents = [Int](repeating: 1, count: rank - extents.count) + extents
        guard extents.dropFirst().allSatisfy({ $0 == 1 }) else {
            throw Problem("slopes of \(slope.shape): one a channel, or one, are read")
        }
        slope.shape = [slope.count]
        return try add(node.name, .prelu(slope: parameter(slope)), [x])
    }
}
