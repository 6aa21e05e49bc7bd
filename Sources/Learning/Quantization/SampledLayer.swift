internal import Determinism
internal import Inference
internal import Model
internal import Tensors

/// A layer on sampled patches: how near its integers come to the float network, for any scales.
struct SampledLayer: Sendable {
    let layer: FoldedLayer
    let weighted: WeightedLayer
    let kernels: InferenceKernels
    /// f32 [rows, taps, channels]: what the layer reads in the network that is quantised so far.
    let patches: Tensor
    /// f32 [rows, outputs]: the float network's results, after bias and activation.
    let target: Tensor
    /// Rows of each image.
    let images: [Range<Int>]

    private static let alone = ParallelBlocks(threads: 1)

    var rows: Int { images.last?.upperBound ?? 0 }
    var outputs: Int { weighted.output.channels }

    /// - Parameters:
    ///   - layer: of the network; its input in the quantised and in the float network.
    init(
        _ layer: FoldedLayer, _ weighted: WeightedLayer, _ places: SampledPlaces, quantized: Tensor, float: Tensor,
        kernels: InferenceKernels, blocks: ParallelBlocks
    ) {
        let onPatches = layer.onPatches(weighted)
        self.layer = onPatches
        self.weighted = onPatches.weighted ?? weighted
        self.kernels = kernels
        patches = places.patches(of: quantized, weighted)
        var start = 0
        images = places.pixels.map { chosen in
            defer { start += chosen.count }
            return start..<start + chosen.count
        }
        target = LayerRunner(onPatches, inputs: [self.weighted.input], kernels: kernels, blocks: blocks)
            .run([places.patches(of: float, weighted)], samples: start)
    }

    /// The codes of the patches.
    func codes(_ encoding: Encoding) -> Tensor {
        LayerRunner.encode(
            patches, channels: weighted.input.channels, encoding, kernels: kernels, blocks: Self.alone)
    }

    /// The integer layer's results f32 [rows, outputs].
    func results(_ integers: IntegerLayer, _ codes: Tensor) -> Tensor {
        LayerRunner(layer, inputs: [weighted.input], integers: integers, kernels: kernels, blocks: Self.alone)
            .run([codes], samples: rows)
    }

    /// The objective of the layer's integers, on the codes that they read.
    func objective(of integers: IntegerLayer) -> Double { objective(results(integers, codes(integers.input))) }

    /// EasyQuant's objective (arXiv 2006.16669, eq. 4): the mean over images of the cosine between the layer's results in floats and in
    /// integers. Where an image has one result pixel, a cosine would not see its gain: then all images are one vector.
    func objective(_ results: Tensor) -> Double {
        let groups = images.allSatisfy { $0.count == 1 } ? [0..<rows] : images
        let (a, b) = (target.buffer(Float.self), results.buffer(Float.self))
        var sum = 0.0
        for group in groups {
            sum += VectorProducts(a, b, group.lowerBound * outputs..<group.upperBound * outputs).cosine
        }
        return sum / Double(max(1, groups.count))
    }

    /// For each output channel how good its results are, over all rows: larger is better.
    func channelScores(_ results: Tensor, _ objective: WeightObjective) -> [Double] {
        let (a, b) = (target.buffer(Float.self), results.buffer(Float.self))
        var (first, second, third) = ([Double](repeating: 0, count: outputs), [Double](), [Double]())
        switch objective {
        case .squared:
            for row in 0..<rows {
                for channel in 0..<outputs {
                    let d = Double(a[row * outputs + channel]) - Double(b[row * outputs + channel])
                    first[channel] -= d * d
                }
            }
            return first
        case .cosine:
            second = first
            third = first
            for row in 0..<rows {
                for channel in 0..<outputs {
                    let (x, y) = (Double(a[row * outputs + channel]), Double(b[row * outputs + channel]))
                    first[channel] += x * y
                    second[channel] += x * x
                    third[channel] += y * y
                }
            }
            return (0..<outputs).map {
                second[$0] == 0 || third[$0] == 0 ? 0 : first[$0] / (second[$0] * third[$0]).squareRoot()
            }
        }
    }
}

/// What a channel's weight scale is chosen by.
public enum WeightObjective: String, Sendable, CaseIterable, Codable {
    /// The cosine of the channel's results, as in the paper. It does not see the channel's gain.
    case cosine
    /// The squared error of the channel's results.
    case squared
}
