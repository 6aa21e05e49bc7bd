internal import Determinism
internal import Inference
internal import Model
internal import Tensors

/// Places of a layer's output at which a calibration looks, in every image: all of them, or some drawn at random.
struct SampledPlaces: Sendable {
    /// Pixels of the output, ascending, for each image.
    let pixels: [[Int]]

    /// - Parameters:
    ///   - count: places of an image; nil for all.
    ///   - layer: a number of the layer, so that layers draw differently.
    init(_ extents: Extents, images: Int, count: Int?, seed: UInt64, layer: Int) {
        guard let count, count < extents.pixels else {
            pixels = [[Int]](repeating: Array(0..<extents.pixels), count: images)
            return
        }
        pixels = (0..<images).map { image in
            var random = KeyedRandom(seed: seed, purpose: .calibration, UInt64(layer), UInt64(image))
            var chosen: Set<Int> = []
            while chosen.count < count { chosen.insert(Int(random.below(UInt64(extents.pixels)))) }
            return chosen.sorted()
        }
    }

    /// Rows of a sample: of all images.
    var count: Int { pixels.reduce(0) { $0 + $1.count } }

    /// What the layer reads for each place: f32 [places, taps, channels], zeros in the padding.
    func patches(of value: Tensor, _ layer: WeightedLayer) -> Tensor {
        let channels = layer.input.channels
        let result = Tensor(zeros: Float.self, shape: [count, layer.taps, channels])
        let offsets = layer.offsets(pixelStride: channels)
        let (source, target) = (value.buffer(Float.self), result.mutable(Float.self))
        var row = 0
        for (image, chosen) in pixels.enumerated() {
            let start = image * layer.input.count
            for pixel in chosen {
                for tap in 0..<layer.taps {
                    let offset = Int(offsets[pixel * layer.taps + tap])
                    if offset >= 0 {
                        let from = source[start + offset..<start + offset + channels]
                        let to = (row * layer.taps + tap) * channels
                        for (index, x) in from.enumerated() { target[to + index] = x }
                    }
                }
                row += 1
            }
        }
        return result
    }
}

extension FoldedLayer {
    /// The layer on single patches, each an image as large as the kernel: with its first activation, and nothing behind that.
    func onPatches(_ weighted: WeightedLayer) -> FoldedLayer {
        let patch = Extents(
            channels: weighted.input.channels, height: weighted.window.kernel.height,
            width: weighted.window.kernel.width)
        let output = Extents(channels: weighted.output.channels, height: 1, width: 1)
        var result = FoldedLayer(
            name: name,
            operation: .weighted(
                WeightedLayer(
                    weights: weighted.weights, bias: weighted.bias, isDepthwise: weighted.isDepthwise,
                    groupWidth: weighted.groupWidth, window: .init(kernel: weighted.window.kernel), input: patch,
                    output: output)), inputs: inputs,
            extents: output)
        result.first = first
        return result
    }
}
