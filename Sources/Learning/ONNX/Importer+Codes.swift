internal import COnnx
internal import Inference
internal import Model
internal import Tensors

/// QuantizeLinear and DequantizeLinear: layers between them are read as layers in integers.
///
/// A layer is computed in integers if its input and its weights are both decoded. Elsewhere a pair only holds values to the numbers that
/// have codes, as saturation does; it does not round.
extension Importer {
    private func format(_ node: FileNode) throws -> CodeFormat {
        guard !node.has("block_size") || node.integer("block_size", 0) == 0 else {
            throw Problem("scales of blocks are not supported")
        }
        let scale = try required(node, 1)
        let reciprocals = try scale.floats()
        guard !reciprocals.isEmpty, scale.shape.count <= 1, reciprocals.allSatisfy({ $0.isNormal && $0 > 0 }) else {
            throw Problem("its scales are not positive numbers, one or along one axis")
        }
        var note = ""
        if case .stored(let tensor) = scale.content { note = tensor.note }
        guard let zero = try constant(node, 2) else {
            return CodeFormat(
                reciprocals: reciprocals, zeros: reciprocals.map { _ in 0 }, kind: nil, note: note)
        }
        guard case .stored(let tensor) = zero.content, zero.count == reciprocals.count else {
            throw Problem("\(zero.count) zero points for \(reciprocals.count) scales")
        }
        return CodeFormat(
            reciprocals: reciprocals, zeros: try tensor.floats(), kind: tensor.kind, note: note)
    }

    /// Codes of a value.
    func quantized(_ node: FileNode) throws -> Known {
        let format = try format(node)
        guard format.reciprocals.count == 1, let zeroPoint = format.zeros.first else {
            throw Problem("it has \(format.reciprocals.count) scales; activations have one")
        }
        let codes = try format.codes(unsignedByDefault: true)
        let value = try self.value(node)
        let zero = Int(zeroPoint - codes.lowerBound) - 128
        let (scales, bits, isNoted) = format.scales
        var encoding = Encoding(bits: 8, scale: scales[0], zero: zero, lowest: -128)
        guard encoding.scale.isFinite else { throw Problem("its scale \(format.reciprocals[0]) is too small") }
        if isNoted, abs(zero) <= Encoding.limit(bits: bits) {
            let noted = Encoding(bits: bits, scale: scales[0], zero: zero)
            if bits == 8 { return .codes(.init(value: value, encoding: noted, format: format)) }
            // With fewer bits, a Clip before holds values to the codes that there are.
            let (low, high) = noted.valueRange
            if let position = value.node, made[position].operation == .activation(.clip(low, high)) {
                return .codes(.init(value: made[position].inputs[0], encoding: noted, format: format))
            }
        }
        encoding.scale = 1 / format.reciprocals[0]
        return .codes(.init(value: value, encoding: encoding, format: format))
    }

    /// A value of its codes.
    mutating func decoded(_ node: FileNode) throws -> Known {
        guard case .codes(let codes) = try input(node, 0) else { throw Problem("its input is no QuantizeLinear's") }
        let format = try format(node)
        guard format.reciprocals == codes.format.reciprocals, format.zeros == codes.format.zeros else {
            throw Problem("its scale and zero point are not those of the QuantizeLinear that it reads")
        }
        let (low, high) = codes.encoding.valueRange
        let held = try add(node.name, .activation(.clip(low, high)), [codes.value])
        let layers: Set = ["Conv", "Gemm", "MatMul"]
        let isReadByLayersAlone =
            node.outputs[0] != string(message.graph.output?[0]?.pointee.name)
            && (readers[node.outputs[0]] ?? []).allSatisfy { layers.contains(nodes[$0].type) }
        // Where others read it held, layers read that too: one value less to compute, and the same codes.
        return .decoded(
            .init(value: isReadByLayersAlone ? codes.value : held, held: held, encoding: codes.encoding))
    }

    /// A node of constants alone.
    mutating func foldedCodes(_ node: FileNode, _ first: Constant) throws -> Constant {
        if case .encoded = first.content { throw Problem("its input is decoded already") }
        let format = try format(node)
        try charge(2 * format.reciprocals.count)
        let scales = try ScaleAxis(format, of: first, axis: node.integer("axis", 1))
        var result = first
        result.isTransposed = false
        if node.type == "DequantizeLinear" {
            result.content = .encoded(.init(codes: first, scales: scales))
            return result
        }
        try charge(first.count)
        let (values, range) = (try first.floats(), try format.codes(unsignedByDefault: true))
        result.content = .floats(
            values.indices.map {
                let (reciprocal, zero) = scales[$0]
                let code = (values[$0] / reciprocal).rounded(.toNearestOrEven) + zero
                return min(range.upperBound, max(range.lowerBound, code))
            })
        return result
    }

    /// The name of the layer that a node makes, by which it is found again.
    private mutating func layerName(_ node: FileNode) -> String {
        var name = node.name
        var number = layerNumbers[node.name] ?? 2
        while integerNodes[name] != nil {
            name = "\(node.name)#\(number)"
            number += 1
        }
        layerNumbers[node.name] = number
        return name
    }

    /// Prepares a convolution or linear layer in integers.
    ///
    /// - Parameters:
    ///   - weight: its codes take its place.
    ///   - outputs: outputs of the layer.
    ///   - axis: where the outputs lie in the weight as it is stored.
    /// - Returns: the value that the layer reads and its name; nil if it is computed in single precision.
    mutating func integerLayer(
        _ node: FileNode, _ weight: inout Constant, outputs: Int, axis: Int
    ) throws -> (input: Graph.Value, name: String)? {
        guard case .decoded(let x) = try input(node, 0), case .encoded(let encoded) = weight.content else { return nil }
        let scales = encoded.scales.format.scales.values
        if scales.count > 1 {
            guard encoded.scales.axis == axis, scales.count == outputs, encoded.codes.shape.count == weight.shape.count
            else {
                throw Problem("the weight \(weight.name) has scales along another axis than its outputs")
            }
        }
        guard scales.allSatisfy({ (1 / ($0 * x.encoding.scale)).isNormal }) else {
            throw Problem("the scales of \(weight.name) are too small or too large")
        }
        try charge(weight.count)
        weight.content = .floats(try encoded.centered())
        let name = layerName(node)
        integerNodes[name] = IntegerNode(
            input: x.encoding,
            weightScales: scales.count == 1 ? .init(repeating: scales[0], count: outputs) : scales)
        return (x.value, name)
    }
}

extension Importer {
    /// Folds a network whose nodes in `integers` have codes as weights.
    static func folded(
        _ graph: Graph, _ parameters: Tensor, _ integers: [String: IntegerNode]
    ) throws -> (network: FoldedNetwork, integers: [IntegerLayer?]) {
        let network = try FoldedNetwork(graph, parameters: parameters, fixed: Set(integers.keys))
        var layers = network.layers
        var result = [IntegerLayer?](repeating: nil, count: layers.count)
        for position in layers.indices {
            guard let node = integers[layers[position].name], case .weighted(var layer) = layers[position].operation
            else { continue }
            let codes = try layer.weights.map { weight in
                guard let code = Int8(exactly: weight) else {
                    throw Problem("two layers are named \(layers[position].name)")
                }
                return code
            }
            result[position] = IntegerLayer(input: node.input, weights: codes, weightScales: node.weightScales)
            // The integers are what is computed with.
            layer.weights = [Float](repeating: 0, count: codes.count)
            layers[position].operation = .weighted(layer)
        }
        let folded = FoldedNetwork(name: network.name, input: network.input, layers: layers, output: network.output)
        if let problem = folded.problem(integers: result) { throw Problem(problem) }
        return (folded, result)
    }
}
