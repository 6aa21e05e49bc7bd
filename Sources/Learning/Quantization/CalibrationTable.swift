public import Inference

/// A network's scales as the calibration table of ncnn, for its tool `ncnn2int8`.
///
/// For each layer the table has `NAME_param_0` with the scales of the weights, by output, and `NAME` with the input's. They multiply, as
/// ours do. Names are those of ncnn's converter, which makes them itself, so they are read from the `.param` file that it wrote; layers
/// with weights stand in the same order there.
public enum CalibrationTable {
    /// Why a table cannot be made.
    public struct Problem: Error, CustomStringConvertible, Sendable {
        public let description: String
    }

    /// A layer with weights of a `.param` file.
    private struct Layer {
        let type: String
        let name: String
        let groups: Int
        let outputs: Int
        let weights: Int
    }

    /// The table.
    ///
    /// - Parameters:
    ///   - integers: by layer; ncnn computes others in single precision.
    ///   - parameters: the text of the `.param` file of the same network in single precision.
    /// - Throws: `Problem` if a layer has a zero point, or the file is of another network.
    public static func text(
        _ network: FoldedNetwork, integers: [IntegerLayer?], parameters: String
    ) throws(Problem) -> String {
        let theirs = try layers(parameters)
        let ours = network.layers.indices.filter { network.layers[$0].weighted != nil }
        guard theirs.count == ours.count else {
            throw Problem(
                description:
                    "the .param file has \(theirs.count) layers with weights; \(network.name) has \(ours.count)")
        }
        var weights = ""
        var inputs = ""
        for (position, other) in zip(ours, theirs) {
            let layer = network.layers[position]
            guard let weighted = layer.weighted else { continue }
            guard other.outputs == weighted.output.channels, other.weights == weighted.weights.count,
                other.groups == weighted.groups
            else {
                throw Problem(
                    description:
                        "\(other.type) \(other.name) of the .param file has \(other.outputs) outputs and \(other.weights) weights; \(layer.name), which stands there, has \(weighted.output.channels) and \(weighted.weights.count): convert the network that was quantised"
                )
            }
            guard let integer = integers[position] else { continue }
            guard weighted.groups == 1 || weighted.groupWidth == 1 else {
                throw Problem(
                    description:
                        "\(layer.name) has groups of \(weighted.groupWidth) channels, and ncnn's tables have one weight scale for each group: quantise with --keep-float \(layer.name)"
                )
            }
            guard integer.input.zero == 0 else {
                throw Problem(
                    description:
                        "\(layer.name) has a zero point, and ncnn's tables have none: quantise with --zero-point off")
            }
            weights += "\(other.name)_param_0 \(integer.weightScales.map { "\($0)" }.joined(separator: " "))\n"
            inputs += "\(other.name) \(integer.input.scale)\n"
        }
        return weights + inputs
    }

    private static func layers(_ text: String) throws(Problem) -> [Layer] {
        let lines = text.split(whereSeparator: \.isNewline)
        guard lines.first == "7767517" else {
            throw Problem(description: "the .param file does not begin with 7767517, as text of ncnn does")
        }
        var result: [Layer] = []
        for line in lines.dropFirst(2) {
            let words = line.split(separator: " ")
            guard let type = words.first, ["Convolution", "ConvolutionDepthWise", "InnerProduct"].contains(type) else {
                continue
            }
            // Numbers by key: 0 is the outputs; 6, or 2 of an InnerProduct, the weights; 7 the groups.
            var numbers: [Substring: Int] = [:]
            for word in words.dropFirst(4) {
                let parts = word.split(separator: "=", maxSplits: 1)
                if parts.count == 2, let number = Int(parts[1]) { numbers[parts[0]] = number }
            }
            let isLinear = type == "InnerProduct"
            guard words.count > 4, let outputs = numbers["0"], let weights = numbers[isLinear ? "2" : "6"] else {
                throw Problem(description: "the .param file has a layer that cannot be read: \(line.prefix(80))")
            }
            result.append(
                Layer(
                    type: String(type), name: String(words[1]),
                    groups: type == "ConvolutionDepthWise" ? numbers["7"] ?? 1 : 1, outputs: outputs,
                    weights: weights))
        }
        return result
    }
}
