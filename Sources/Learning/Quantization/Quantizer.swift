public import Determinism
public import Inference
internal import Model
public import Tensors

/// Quantises a network layer by layer, in its order: each layer's search reads what the layers before it, quantised already, give.
public struct Quantizer: Sendable {
    public let network: FoldedNetwork
    public let options: QuantizationOptions
    let kernels: InferenceKernels
    let blocks: ParallelBlocks

    public init(
        _ network: FoldedNetwork, options: QuantizationOptions, kernels: InferenceKernels, blocks: ParallelBlocks
    ) {
        self.network = network
        self.options = options
        self.kernels = kernels
        self.blocks = blocks
    }

    /// What became of a layer.
    public struct LayerReport: Sendable, Hashable, Codable {
        public var name: String
        /// 0: single precision.
        public var bits: Int
        public var outputs: Int
        /// Products of an output.
        public var depth: Int
        public var inputScale: Float
        public var zero: Int
        /// EasyQuant's objective with everything representable, and at the end.
        public var before: Double
        public var after: Double
        public var takenBack: Int
    }

    public struct Result: Sendable {
        /// By layer of the network; nil where it stays in single precision.
        public var integers: [IntegerLayer?]
        public var layers: [LayerReport]
        /// Of each calibration image, the cosine between the embeddings of the integers and of the float network.
        public var cosines: [Double]
    }

    /// Layers whose sums of products do not fit 32 bits: they stay in single precision.
    public var tooDeep: [FoldedLayer] {
        network.layers.filter { ($0.weighted?.depth ?? 0) > FoldedNetwork.depthLimit }
    }

    private func bits(_ layer: FoldedLayer) -> Int {
        (layer.weighted?.depth ?? 0) > FoldedNetwork.depthLimit ? 0 : options.bitsOf[layer.name] ?? options.bits
    }

    /// - Parameters:
    ///   - images: f32 [n, height, width, channels], preprocessed.
    ///   - progress: called after every layer with weights.
    /// - Throws: `NonFiniteValue` for the first layer that has one in single precision, before an activation may hide it.
    public func run(
        _ images: Tensor, progress: (LayerReport) -> Void = { _ in }
    ) throws(NonFiniteValue) -> Result {
        let count = images.shape[0]
        let pixels = network.input.pixels
        let start = images.reshaped([count, pixels, network.input.channels])
        var float: [Int: Tensor] = [0: start]
        var quantized: [Int: Tensor] = [0: start]
        var integers = [IntegerLayer?](repeating: nil, count: network.layers.count)
        var reports: [LayerReport] = []
        var left = network.consumers.map(\.count)
        left[network.output] += 1
        for (position, layer) in network.layers.enumerated() {
            let extents = layer.inputs.map(network.extents)
            let floatInputs = layer.inputs.compactMap { float[$0] }
            let inputs = layer.inputs.compactMap { quantized[$0] }
            try checkFinite(layer, floatInputs, residual: layer.residual.flatMap { float[$0] }, count)
            if let weighted = layer.weighted, bits(layer) > 0 {
                let (found, report) = search(layer, weighted, position, quantized: inputs[0], float: floatInputs[0])
                integers[position] = found
                reports.append(report)
                progress(report)
            }
            func result(_ inputs: [Tensor], _ values: [Int: Tensor], _ integers: IntegerLayer?) -> Tensor {
                LayerRunner(layer, inputs: extents, integers: integers, kernels: kernels, blocks: blocks)
                    .run(inputs, residual: layer.residual.flatMap { values[$0] }, samples: count)
            }
            float[position + 1] = result(floatInputs, float, nil)
            quantized[position + 1] = result(inputs, quantized, integers[position])
            for value in layer.inputs + (layer.residual.map { [$0] } ?? []) {
                left[value] -= 1
                if left[value] == 0 {
                    float[value] = nil
                    quantized[value] = nil
                }
            }
        }
        let cosines =
            if let a = float[network.output], let b = quantized[network.output] {
                Self.cosines(a, b, size: network.embeddingSize)
            } else { [Double]() }
        return Result(integers: integers, layers: reports, cosines: cosines)
    }

    private func search(
        _ layer: FoldedLayer, _ weighted: WeightedLayer, _ position: Int, quantized: Tensor, float: Tensor
    ) -> (IntegerLayer, LayerReport) {
        let bits = bits(layer)
        let places = SampledPlaces(
            weighted.output, images: quantized.shape[0], count: options.places, seed: options.seed, layer: position)
        let sample = SampledLayer(
            layer, weighted, places, quantized: quantized, float: float, kernels: kernels, blocks: blocks)
        let range = ValueRange(quantized)
        let result: EasyQuantSearch.Result
        switch options.method {
        case .easyQuant:
            result = EasyQuantSearch(sample, bits: bits, options: options, blocks: blocks).run(range)
        case .range(let method):
            let scales = WeightScales(weighted, bits: bits)
            let integers = scales.integers(
                method.encoding(quantized, range, bits: bits, zeroPoint: options.zeroPoint), scales.initial)
            result = .init(
                integers: integers,
                before: sample.objective(of: scales.integers(range.symmetric(bits: bits), scales.initial)),
                after: sample.objective(of: integers), takenBack: 0)
        }
        return (
            result.integers,
            LayerReport(
                name: layer.name, bits: bits, outputs: weighted.output.channels, depth: weighted.depth,
                inputScale: result.integers.input.scale, zero: result.integers.input.zero, before: result.before,
                after: result.after, takenBack: result.takenBack)
        )
    }

    /// The cosine of each row of two f32 arrays.
    public static func cosines(_ a: Tensor, _ b: Tensor, size: Int) -> [Double] {
        let (x, y) = (a.buffer(Float.self), b.buffer(Float.self))
        return (0..<a.count / size).map { row in
            VectorProducts(x, y, row * size..<(row + 1) * size).cosine
        }
    }
}
