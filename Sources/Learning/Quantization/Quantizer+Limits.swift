internal import Inference
internal import Model
public import Tensors

/// A layer of the float network has a value that is no finite number.
public struct NonFiniteValue: Error, Sendable, Hashable {
    public let layer: String
    /// The image, from 0.
    public let image: Int
}

extension Quantizer {
    /// Whether a layer's float results are finite. Its activations would make their lower bound of what is no number.
    func checkFinite(
        _ layer: FoldedLayer, _ inputs: [Tensor], residual: Tensor?, _ count: Int
    ) throws(NonFiniteValue) {
        var bare = layer
        bare.first = .none
        bare.second = .none
        let result = LayerRunner(bare, inputs: layer.inputs.map(network.extents), kernels: kernels, blocks: blocks)
            .run(inputs, residual: residual, samples: count)
        guard let bad = result.buffer(Float.self).firstIndex(where: { !$0.isFinite }) else { return }
        throw NonFiniteValue(layer: layer.name, image: bad / layer.extents.count)
    }

    /// The first layer of the float network that gives something else than finite numbers; nil if none does.
    public func firstNonFinite(_ images: Tensor) -> NonFiniteValue? {
        let count = images.shape[0]
        var values = [images.reshaped([count, network.input.pixels, network.input.channels])]
        for layer in network.layers {
            let inputs = layer.inputs.map { values[$0] }
            let residual = layer.residual.map { values[$0] }
            do throws(NonFiniteValue) { try checkFinite(layer, inputs, residual: residual, count) } catch {
                return error
            }
            values.append(
                LayerRunner(layer, inputs: layer.inputs.map(network.extents), kernels: kernels, blocks: blocks)
                    .run(inputs, residual: residual, samples: count))
        }
        return nil
    }

    /// About how many bytes `run` takes at most for so many images, with as many for a check beside them.
    public func peakBytes(images: Int) -> Int {
        var left = network.consumers.map(\.count)
        left[network.output] += 1
        // The input once, every other value in floats and as the integers give it.
        var live = network.input.count
        var most = 0
        for layer in network.layers {
            var sample = 0
            if let weighted = layer.weighted {
                // Patches of both, their codes, the target and results.
                let places = min(options.places ?? .max, weighted.output.pixels)
                sample = places * (3 * weighted.taps * weighted.input.channels + 3 * weighted.output.channels)
            }
            most = max(most, live + max(sample, 3 * layer.extents.count))
            live += 2 * layer.extents.count
            for value in layer.inputs + (layer.residual.map { [$0] } ?? []) {
                left[value] -= 1
                if left[value] == 0 { live -= (value == 0 ? 1 : 2) * network.extents(of: value).count }
            }
        }
        let (bytes, overflow) = (4 * (most + 2 * network.input.count)).multipliedReportingOverflow(by: images)
        return overflow ? .max : bytes
    }
}
