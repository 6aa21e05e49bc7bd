internal import Model

extension FoldedNetwork {
    /// The most elements of a value of one image.
    private static let valueLimit = 1 << 28
    /// Sums of products of bytes and codes stay below 2^31 up to here.
    public static let depthLimit = 60_000

    /// What is wrong with the network, which may come from a file; nil if it can be run.
    public func problem(integers: [IntegerLayer?]) -> String? {
        guard layers.count <= GraphBuilder.limit, integers.count == layers.count else {
            return "it has \(layers.count) layers"
        }
        guard Self.isValid(input) else { return "its input is \(input)" }
        for (position, layer) in layers.enumerated() {
            if let problem = problem(position, layer) ?? integers[position].flatMap({ Self.problem(layer, $0) }) {
                return "layer \(position) (\(layer.name)): \(problem)"
            }
        }
        guard (0...layers.count).contains(output), extents(of: output).pixels == 1 else {
            return "its output, value \(output), is no vector"
        }
        return nil
    }

    private static func isValid(_ e: Extents) -> Bool {
        guard e.channels > 0, e.height > 0, e.width > 0 else { return false }
        let (pixels, first) = e.height.multipliedReportingOverflow(by: e.width)
        let (count, second) = pixels.multipliedReportingOverflow(by: e.channels)
        return !first && !second && count <= valueLimit
    }

    private func problem(_ position: Int, _ layer: FoldedLayer) -> String? {
        guard Self.isValid(layer.extents) else { return "its result is \(layer.extents)" }
        guard !layer.inputs.isEmpty,
            (layer.inputs + (layer.residual.map { [$0] } ?? [])).allSatisfy((0...position).contains)
        else { return "reads values that are not there before it" }
        if let residual = layer.residual, extents(of: residual) != layer.extents {
            return "adds \(extents(of: residual)) to \(layer.extents)"
        }
        for activation in [layer.first, layer.second] {
            switch activation {
            case .none: break
            case .prelu(let slopes):
                guard slopes.count == layer.extents.channels, slopes.allSatisfy(\.isFinite) else {
                    return "its slopes are not \(layer.extents.channels) finite numbers"
                }
            case .clip(let low, let high): guard low <= high else { return "clips to \(low)…\(high)" }
            }
        }
        let inputs = layer.inputs.map(extents)
        switch layer.operation {
        case .weighted(let weighted): return problem(weighted, inputs, layer.extents)
        case .scale(let factor, let summand):
            guard inputs == [layer.extents], factor.count == layer.extents.channels, summand.count == factor.count,
                (factor + summand).allSatisfy(\.isFinite)
            else { return "is no finite factor and summand for each channel" }
        case .other(let operation): return problem(operation, inputs, layer)
        }
        return nil
    }

    private func problem(_ w: WeightedLayer, _ inputs: [Extents], _ output: Extents) -> String? {
        guard inputs == [w.input], w.output == output else { return "its extents do not fit its input" }
        guard WeightedLayer.groupWidths.contains(w.groupWidth) else {
            return "its groups have \(w.groupWidth) channels"
        }
        guard (1...valueSide).contains(w.window.kernel.height), (1...valueSide).contains(w.window.kernel.width) else {
            return "its kernel is \(w.window.kernel)"
        }
        // In floating point, where nothing overflows.
        let count = Double(w.output.channels) * Double(w.taps) * Double(w.isDepthwise ? w.groupWidth : w.input.channels)
        guard Double(w.weights.count) == count, w.bias.count == w.output.channels,
            !w.isDepthwise || w.input.channels == w.output.channels && w.input.channels % w.groupWidth == 0
        else { return "its weights do not fit" }
        guard Double(w.output.pixels) * Double(w.taps) <= Double(Self.valueLimit) else {
            return "a kernel of \(w.taps) places for \(w.output.pixels) pixels is too large"
        }
        guard w.weights.allSatisfy(\.isFinite), w.bias.allSatisfy(\.isFinite) else {
            return "its weights are not finite"
        }
        return shape(w.input) { builder throws(BackboneError) in
            let groups = w.groups
            let weight = builder.parameter(
                "weight", [w.output.channels, w.input.channels / groups, w.window.kernel.height, w.window.kernel.width])
            return try builder.add(
                "layer",
                .convolution(
                    .init(
                        weight: weight, strides: w.window.strides, padding: w.window.padding,
                        dilation: w.window.dilation, groups: groups)), .input)
        }.problem(output)
    }

    private var valueSide: Int { 1 << 14 }

    private func problem(_ operation: UnfoldedOperation, _ inputs: [Extents], _ layer: FoldedLayer) -> String? {
        guard layer.first == .none, layer.residual == nil, layer.second == .none else {
            return "has activations that it cannot have"
        }
        switch operation {
        case .activation: return inputs == [layer.extents] ? nil : "changes extents"
        case .binary:
            let byChannel = Extents(channels: layer.extents.channels, height: 1, width: 1)
            let fits =
                inputs.count == 2 && inputs[0] == layer.extents && [layer.extents, byChannel].contains(inputs[1])
            return fits ? nil : "its operands are \(inputs)"
        case .pooling(let pooling):
            guard inputs.count == 1 else { return "has \(inputs.count) inputs" }
            return shape(inputs[0]) { builder throws(BackboneError) in
                try builder.add("layer", .pooling(pooling), .input)
            }.problem(layer.extents)
        case .concatenation:
            let channels = inputs.reduce(0) { $0 + $1.channels }
            let fits =
                channels == layer.extents.channels
                && inputs.allSatisfy { ($0.height, $0.width) == (layer.extents.height, layer.extents.width) }
            return fits ? nil : "joins \(inputs)"
        case .slice(let range):
            let e = inputs[0]
            let fits =
                inputs.count == 1 && !range.isEmpty && range.lowerBound >= 0 && range.upperBound <= e.channels
                && layer.extents == Extents(channels: range.count, height: e.height, width: e.width)
            return fits ? nil : "takes channels \(range) of \(e)"
        }
    }

    /// What a graph says about the shape of an operator's result.
    private func shape(
        _ input: Extents, _ add: (inout GraphBuilder) throws(BackboneError) -> Graph.Value
    ) -> Result<[Int], BackboneError> {
        do throws(BackboneError) {
            var builder = try GraphBuilder(name: name, input: input.shape)
            let value = try add(&builder)
            return .success(builder.shape(of: value))
        } catch { return .failure(error) }
    }

    private static func problem(_ layer: FoldedLayer, _ integers: IntegerLayer) -> String? {
        guard let weighted = layer.weighted else { return "has integers, but no weights" }
        let encoding = integers.input
        guard (2...8).contains(encoding.bits), encoding.scale > 0, encoding.scale.isFinite,
            encoding.lowest == nil || (encoding.lowest == -128 && encoding.bits == 8),
            ((encoding.lowest ?? -encoding.limit)...encoding.limit).contains(encoding.zero)
        else { return "its encoding is \(encoding)" }
        guard weighted.depth <= depthLimit else {
            return "sums \(weighted.depth) products; integers of 32 bits hold \(depthLimit)"
        }
        let limit = Int8(encoding.limit)
        guard integers.weights.count == weighted.weights.count,
            integers.weights.allSatisfy({ (-limit...limit).contains($0) })
        else { return "its codes are not \(weighted.weights.count) numbers in ±\(limit)" }
        guard integers.weightScales.count == weighted.output.channels,
            integers.weightScales.allSatisfy({ $0 > 0 && $0.isFinite && (1 / ($0 * encoding.scale)).isFinite })
        else { return "its scales are not positive numbers" }
        return nil
    }
}

extension Result<[Int], BackboneError> {
    fileprivate func problem(_ output: Extents) -> String? {
        switch self {
        case .failure(let error): error.message
        case .success(let shape):
            shape == output.shape ? nil : "its result is \(output), not \(shape)"
        }
    }
}
