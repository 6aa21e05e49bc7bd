internal import Inference

/// Weights of a layer as codes, with a scale for each output channel.
struct WeightScales: Sendable {
    let layer: WeightedLayer
    /// limit / max|w| of each output: every weight is representable.
    let initial: [Float]

    init(_ layer: WeightedLayer, bits: Int) {
        self.layer = layer
        let limit = Float(Encoding.limit(bits: bits))
        var largest = [Float](repeating: 0, count: layer.output.channels)
        for (index, weight) in layer.weights.enumerated() {
            let output = layer.output(ofWeight: index)
            largest[output] = max(largest[output], abs(weight))
        }
        initial = largest.map { $0 > ValueRange.smallest ? limit / $0 : 1 }
    }

    func integers(_ input: Encoding, _ scales: [Float]) -> IntegerLayer {
        IntegerLayer(input: input, encoding: layer, scales: scales)
    }
}
