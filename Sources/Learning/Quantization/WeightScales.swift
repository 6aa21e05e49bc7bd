internal import Inference

/// Weights of a layer as codes, with a scale for each output channel.
struct WeightScales: Sendable {
    let layer: WeightedLayer
    let limit: Float
    /// limit / max|w| of each output: every weight is representable.
    let initial: [Float]

    init(_ layer: WeightedLayer, bits: Int) {
        self.layer = layer
        limit = Float(Encoding.limit(bits: bits))
        var largest = [Float](repeating: 0, count: layer.output.channels)
        for (index, weight) in layer.weights.enumerated() {
            let output = layer.output(ofWeight: index)
            largest[output] = max(largest[output], abs(weight))
        }
        initial = largest.map { [limit] in $0 > ValueRange.smallest ? limit / $0 : 1 }
    }

    /// clamp(round(w·scale), ±limit), as `Encoding.code`.
    func codes(_ scales: [Float]) -> [Int8] {
        let (outputs, depth, limit) = (layer.output.channels, layer.depth, limit)
        // A float of this size keeps whole numbers only: adding it rounds to nearest even, and leaves the number in the low bits.
        let magic: Float = 0x1.8p23
        return [Int8](unsafeUninitializedCapacity: layer.weights.count) { codes, count in
            count = layer.weights.count
            layer.weights.withUnsafeBufferPointer { weights in
                if layer.isDepthwise {
                    for tap in 0..<depth {
                        for o in 0..<outputs {
                            let x = min(max(weights[tap * outputs + o] * scales[o], -limit), limit) + magic
                            codes[tap * outputs + o] = Int8(truncatingIfNeeded: Int32(bitPattern: x.bitPattern))
                        }
                    }
                    return
                }
                for o in 0..<outputs {
                    let scale = scales[o]
                    for index in o * depth..<(o + 1) * depth {
                        let x = min(max(weights[index] * scale, -limit), limit) + magic
                        codes[index] = Int8(truncatingIfNeeded: Int32(bitPattern: x.bitPattern))
                    }
                }
            }
        }
    }

    func integers(_ input: Encoding, _ scales: [Float]) -> IntegerLayer {
        IntegerLayer(input: input, weights: codes(scales), weightScales: scales)
    }
}
