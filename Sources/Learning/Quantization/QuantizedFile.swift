internal import Foundation
public import Inference
internal import Model
internal import ProcessSupport
public import Tensors

/// A quantised network as one safetensors file: graph and encodings as JSON in the metadata, codes as I8 tensors, the rest as F32.
///
/// Tensors are `layers.I.weight` ([outputs, taps, channels]; depthwise [taps · group width, channels]), `layers.I.weight_scale` and `layers.I.bias`
/// [outputs], `layers.I.slope` and `layers.I.second_slope` [channels], and of layers without weights `layers.I.factor` and
/// `layers.I.summand`. x ≈ (code − zero)/scale for activations, w ≈ code/weight_scale for weights.
public enum QuantizedFile {
    /// The metadata key of the network; its presence says what a file is.
    static let networkKey = "quantized_network"
    static let reportKey = "quantization_report"

    /// What lies in the metadata.
    private struct Description: Codable {
        var version = 1
        var name: String
        var input: Extents
        var output: Int
        var layers: [Layer]

        struct Layer: Codable {
            var name: String
            var kind: Kind
            var inputs: [Int]
            var residual: Int?
            var extents: Extents
            var first: Activation?
            var second: Activation?
            var window: WeightedLayer.Window?
            var isDepthwise: Bool?
            /// nil: 1.
            var groupWidth: Int?
            var encoding: Encoding?
            var operation: UnfoldedOperation?
        }

        enum Kind: String, Codable { case weighted, scale, other }

        enum Activation: Codable {
            case prelu
            case clip(Float, Float)
        }
    }

    /// Writes a network.
    ///
    /// - Parameter report: JSON that is kept with it.
    /// - Throws: `SafeTensorsError` if the file cannot be written.
    public static func write(
        _ network: FoldedNetwork, integers: [IntegerLayer?], report: String, to path: String
    ) throws(SafeTensorsError) {
        var tensors: [(description: SafeTensorsWriter.Description, bytes: [UInt8])] = []
        func add(_ name: String, _ values: [Float]) {
            tensors.append((.init(name, .f32, [values.count]), values.withUnsafeBytes(Array.init)))
        }
        func activation(_ a: ChannelActivation, _ name: String) -> Description.Activation? {
            switch a {
            case .none: return nil
            case .prelu(let slopes):
                add(name, slopes)
                return .prelu
            case .clip(let low, let high): return .clip(low, high)
            }
        }
        var layers: [Description.Layer] = []
        for (index, layer) in network.layers.enumerated() {
            let prefix = "layers.\(index)."
            var description = Description.Layer(
                name: layer.name, kind: .other, inputs: layer.inputs, residual: layer.residual, extents: layer.extents)
            description.first = activation(layer.first, prefix + "slope")
            description.second = activation(layer.second, prefix + "second_slope")
            switch layer.operation {
            case .weighted(let w):
                description.kind = .weighted
                description.window = w.window
                description.isDepthwise = w.isDepthwise
                description.groupWidth = w.groupWidth == 1 ? nil : w.groupWidth
                let shape =
                    w.isDepthwise ? [w.depth, w.output.channels] : [w.output.channels, w.taps, w.input.channels]
                if let integers = integers[index] {
                    description.encoding = integers.input
                    tensors.append(
                        (.init(signedBytes: prefix + "weight", shape), integers.weights.withUnsafeBytes(Array.init)))
                    add(prefix + "weight_scale", integers.weightScales)
                } else {
                    tensors.append((.init(prefix + "weight", .f32, shape), w.weights.withUnsafeBytes(Array.init)))
                }
                add(prefix + "bias", w.bias)
            case .scale(let factor, let summand):
                description.kind = .scale
                add(prefix + "factor", factor)
                add(prefix + "summand", summand)
            case .other(let operation): description.operation = operation
            }
            layers.append(description)
        }
        let description = Description(
            name: network.name, input: network.input, output: network.output, layers: layers)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        let json: Data
        do { json = try encoder.encode(description) } catch {
            throw SafeTensorsError(path: path, problem: "cannot be written: \(error)")
        }
        let writer = try SafeTensorsWriter(
            path, tensors: tensors.map(\.description),
            metadata: [networkKey: String(decoding: json, as: UTF8.self), reportKey: report])
        for tensor in tensors {
            var failure: SafeTensorsError?
            tensor.bytes.withUnsafeBytes { bytes in
                do throws(SafeTensorsError) { try writer.append(bytes) } catch { failure = error }
            }
            if let failure { throw failure }
        }
        try writer.finish()
    }

    /// Whether a file says that it holds a quantised network.
    public static func isOne(_ path: String) -> Bool {
        (try? SafeTensorsFile(path))?.metadata[networkKey] != nil
    }

    /// Reads a network that `write` made. Nothing in a file is trusted.
    ///
    /// - Throws: `SafeTensorsError` if the file is damaged, with what is wrong and where.
    public static func read(
        _ path: String
    ) throws(SafeTensorsError) -> (network: FoldedNetwork, integers: [IntegerLayer?], report: String) {
        let file = try SafeTensorsFile(path)
        // Names of the file stand in it.
        func fail(_ problem: String) -> SafeTensorsError { SafeTensorsError(path: path, problem: problem.printable) }
        guard let json = file.metadata[networkKey] else { throw fail("holds no quantised network") }
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        let description: Description
        do { description = try decoder.decode(Description.self, from: Data(json.utf8)) } catch {
            throw fail("its network cannot be read: \(error)")
        }
        guard description.version == 1 else { throw fail("is of version \(description.version); this program reads 1") }
        func floats(_ name: String) throws(SafeTensorsError) -> [Float] {
            try file.tensor(file.entry(name, .f32)).array(Float.self)
        }
        func activation(
            _ a: Description.Activation?, _ name: String
        ) throws(SafeTensorsError) -> ChannelActivation {
            switch a {
            case nil: .none
            case .prelu: .prelu(try floats(name))
            case .clip(let low, let high): .clip(low, high)
            }
        }
        var layers: [FoldedLayer] = []
        var integers: [IntegerLayer?] = []
        func extents(_ value: Int?) throws(SafeTensorsError) -> Extents {
            guard let value, (0...layers.count).contains(value) else {
                throw fail("layer \(layers.count) reads a value that is not there before it")
            }
            return value == 0 ? description.input : layers[value - 1].extents
        }
        for (index, layer) in description.layers.enumerated() {
            let prefix = "layers.\(index)."
            let operation: FoldedLayer.Operation
            var own: IntegerLayer?
            switch layer.kind {
            case .weighted:
                guard let window = layer.window, let isDepthwise = layer.isDepthwise else {
                    throw fail("layer \(index) (\(layer.name)) lacks its window")
                }
                let weights: [Float]
                if let encoding = layer.encoding {
                    let entry = try file.signedBytes(prefix + "weight")
                    let (outputs, input) = (layer.extents.channels, try extents(layer.inputs.first).channels)
                    guard entry.shape.count == (isDepthwise ? 2 : 3),
                        entry.shape.last == (isDepthwise ? outputs : input),
                        isDepthwise || entry.shape[0] == outputs
                    else { throw fail("layer \(index) (\(layer.name)): its weight has the shape \(entry.shape)") }
                    var codes = [Int8](repeating: 0, count: entry.shape.reduce(1, *))
                    var failure: SafeTensorsError?
                    codes.withUnsafeMutableBufferPointer { target in
                        do throws(SafeTensorsError) { try file.read(entry, into: target) } catch { failure = error }
                    }
                    if let failure { throw failure }
                    own = IntegerLayer(
                        input: encoding, weights: codes, weightScales: try floats(prefix + "weight_scale"))
                    // The integers are what is computed with.
                    weights = [Float](repeating: 0, count: codes.count)
                } else {
                    weights = try floats(prefix + "weight")
                }
                operation = .weighted(
                    WeightedLayer(
                        weights: weights, bias: try floats(prefix + "bias"), isDepthwise: isDepthwise,
                        groupWidth: layer.groupWidth ?? 1, window: window, input: try extents(layer.inputs.first),
                        output: layer.extents))
            case .scale:
                operation = .scale(
                    factor: try floats(prefix + "factor"), summand: try floats(prefix + "summand"))
            case .other:
                guard let unfolded = layer.operation else {
                    throw fail("layer \(index) (\(layer.name)) lacks its operation")
                }
                operation = .other(unfolded)
            }
            var folded = FoldedLayer(
                name: layer.name.printable, operation: operation, inputs: layer.inputs, extents: layer.extents)
            folded.first = try activation(layer.first, prefix + "slope")
            folded.second = try activation(layer.second, prefix + "second_slope")
            folded.residual = layer.residual
            layers.append(folded)
            integers.append(own)
        }
        let network = FoldedNetwork(
            name: description.name.printable, input: description.input, layers: layers, output: description.output)
        if let problem = network.problem(integers: integers) { throw fail(problem) }
        return (network, integers, file.metadata[reportKey] ?? "")
    }
}
