internal import Foundation
internal import Inference
internal import Model

/// Writes a network in integers as an ONNX model whose codes stand between QuantizeLinear and DequantizeLinear.
///
/// Only the inputs of layers in integers are encoded; every layer's result is in single precision. Codes of activations are bytes with
/// the zero point zero + 128, weights are int8 with a scale for each output, biases floats. ONNX's scale is 1/S. ONNX clamps to all 256
/// codes: where there are fewer than 8 bits, a Clip before holds values to the codes that there are; of 8 bits, ONNX has −128 in
/// addition.
final class QuantizedExporter {
    private let network: FoldedNetwork
    private let integers: [IntegerLayer?]
    private let file: ModelWriter
    /// The names of values, by their number.
    private var values: [String] = []
    /// The names of values that were codes.
    private var decoded: [Encoded: String] = [:]

    private struct Encoded: Hashable {
        let value: Int
        let encoding: Encoding
    }

    init(_ network: FoldedNetwork, integers: [IntegerLayer?], arena: ProtoArena) throws {
        if let problem = network.problem(integers: integers) { throw Problem(problem) }
        self.network = network
        self.integers = integers
        file = ModelWriter(arena)
    }

    /// The file.
    func data(withNormalization: Bool) throws -> Data {
        values = [file.start(withNormalization: withNormalization)]
        for (position, layer) in network.layers.enumerated() {
            do { values.append(try write(layer, integers[position])) } catch let problem as Problem {
                throw Problem("layer \(layer.name): \(problem.text)")
            }
        }
        _ = file.node(
            "Flatten", ModelWriter.output, [values[network.output]], [("axis", .integer(1))],
            output: ModelWriter.output)
        let input = network.input
        return try file.data(
            name: network.name, input: [input.channels, input.height, input.width], output: [network.embeddingSize])
    }

    /// Writes a layer, and returns the name of its value.
    private func write(_ layer: FoldedLayer, _ integers: IntegerLayer?) throws -> String {
        let name = layer.name
        var value = values[layer.inputs[0]]
        /// The first node has the layer's name.
        var isFirst = true
        func step(_ suffix: String) -> String {
            defer { isFirst = false }
            return isFirst ? name : "\(name).\(suffix)"
        }
        switch layer.operation {
        case .weighted(let weighted): value = try convolution(step(""), weighted, integers, layer.inputs[0])
        case .scale(let factor, let summand):
            if factor.contains(where: { $0 != 1 }) || summand.contains(where: { $0 != 0 }) {
                let c = [factor.count]
                value = file.node(
                    "BatchNormalization", step(""),
                    [
                        value, file.floats("\(name).factor", c, factor), file.floats("\(name).summand", c, summand),
                        file.floats("\(name).mean", c, factor.map { _ in 0 }),
                        file.floats("\(name).variance", c, factor.map { _ in 1 }),
                    ], [("epsilon", .float(0))])
            }
        case .other(let operation): return write(operation, name, layer.inputs.map { values[$0] })
        }
        value = activation(layer.first, value) { step("first") }
        if let residual = layer.residual { value = file.node("Add", step("add"), [value, values[residual]]) }
        return activation(layer.second, value) { step("second") }
    }

    private func write(_ operation: UnfoldedOperation, _ name: String, _ inputs: [String]) -> String {
        switch operation {
        case .activation(let activation): file.activation(activation, name, inputs[0])
        case .binary(let binary): file.node(ModelWriter.type(binary), name, inputs)
        case .pooling(let pooling): file.pooling(pooling, name, inputs[0])
        case .concatenation: file.node("Concat", name, inputs, [("axis", .integer(1))])
        case .slice(let range): file.slice(name, inputs[0], axis: 1, range)
        }
    }

    private func activation(_ activation: ChannelActivation, _ x: String, _ name: () -> String) -> String {
        switch activation {
        case .none: return x
        case .prelu(let slopes):
            let name = name()
            return file.node("PRelu", name, [x, file.floats("\(name).slope", [slopes.count, 1, 1], slopes)])
        case .clip(0, .infinity): return file.node("Relu", name(), [x])
        case .clip(let low, let high): return file.activation(.clip(low, high), name(), x)
        }
    }

    /// A layer with weights, as a convolution: a linear layer is one as large as its image.
    private func convolution(_ name: String, _ layer: WeightedLayer, _ integers: IntegerLayer?, _ input: Int) throws
        -> String
    {
        let channels = layer.isDepthwise ? layer.groupWidth : layer.input.channels
        let shape = [layer.output.channels, channels, layer.window.kernel.height, layer.window.kernel.width]
        let x: String
        let weight: String
        if let integers {
            x = try decode(input, integers.input)
            let (scales, note) = try ScaleNote.write(integers.weightScales, bits: integers.input.bits)
            weight = file.node(
                "DequantizeLinear", "\(name).weight",
                [
                    file.signedBytes("\(name).weight.codes", shape, ordered(integers.weights, of: layer)),
                    file.floats("\(name).weight.scale", [scales.count], scales, note: note),
                    file.signedBytes("\(name).weight.zero", [scales.count], .init(repeating: 0, count: scales.count)),
                ], [("axis", .integer(0))])
        } else {
            x = values[input]
            weight = file.floats("\(name).weight", shape, ordered(layer.weights, of: layer))
        }
        let window = layer.window
        return file.node(
            "Conv", name, [x, weight, file.floats("\(name).bias", [layer.output.channels], layer.bias)],
            file.window(
                kernel: window.kernel, strides: window.strides, padding: window.padding, dilation: window.dilation,
                groups: layer.groups))
    }

    /// Weights [outputs, taps, channels] as [outputs, channels, taps]; depthwise [taps, width, outputs] as [outputs, width, taps].
    private func ordered<V>(_ weights: [V], of layer: WeightedLayer) -> [V] {
        let (outputs, taps) = (layer.output.channels, layer.taps)
        let channels = layer.isDepthwise ? layer.groupWidth : layer.input.channels
        var result: [V] = []
        result.reserveCapacity(weights.count)
        for o in 0..<outputs {
            for c in 0..<channels {
                for t in 0..<taps {
                    let index = layer.isDepthwise ? (t * channels + c) * outputs + o : (o * taps + t) * channels + c
                    result.append(weights[index])
                }
            }
        }
        return result
    }

    /// A value that was made codes and back.
    private func decode(_ value: Int, _ encoding: Encoding) throws -> String {
        let key = Encoded(value: value, encoding: encoding)
        if let known = decoded[key] { return known }
        // Nodes of two encodings of one value need names of their own.
        let before = decoded.keys.count { $0.value == value }
        let name = before == 0 ? values[value] : "\(values[value]).\(before + 1)"
        let (scales, note) = try ScaleNote.write([encoding.scale], bits: encoding.bits)
        var x = values[value]
        if encoding.bits < 8 {
            let (low, high) = encoding.valueRange
            x = file.activation(.clip(low, high), "\(name).held", x)
        }
        let scale = file.floats("\(name).scale", [], scales, note: encoding.lowest == nil ? note : nil)
        let zero = file.byte("\(name).zero", UInt8(encoding.zero + 128))
        let codes = file.node("QuantizeLinear", "\(name).codes", [x, scale, zero])
        let result = file.node("DequantizeLinear", "\(name).decoded", [codes, scale, zero])
        decoded[key] = result
        return result
    }
}

extension Encoding {
    /// The least and the largest number that have codes of their own.
    var valueRange: (low: Float, high: Float) { (range.low / scale, range.high / scale) }
}
