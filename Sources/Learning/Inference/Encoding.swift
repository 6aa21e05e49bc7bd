/// How numbers become codes: q = clamp(round(scale·x) + zero, ±limit), and back: x ≈ (q − zero)/scale.
///
/// Scales multiply, as in EasyQuant (arXiv 2006.16669, eq. 1). Codes do not reach −2^(bits−1): at most 63 in size, eight products of
/// 7-bit codes fit 16 bits. Only activations of 8 bits may (`lowest`).
public struct Encoding: Sendable, Hashable, Codable {
    /// 2…8.
    public var bits: Int
    public var scale: Float
    /// The code of zero, itself one of the codes; 0 if positive and negative numbers have the same range.
    public var zero: Int
    /// −128 where 8 bits have that code too, as in files of other programs; nil: −limit.
    public var lowest: Int?

    public init(bits: Int, scale: Float, zero: Int = 0, lowest: Int? = nil) {
        self.bits = bits
        self.scale = scale
        self.zero = zero
        self.lowest = lowest
    }

    /// 127 for 8 bits, 63 for 7.
    public var limit: Int { Self.limit(bits: bits) }
    public static func limit(bits: Int) -> Int { (1 << (bits - 1)) - 1 }

    /// What kernels add to a code to make a byte of it: 128 for 8 bits, else 64.
    public var byteOffset: Int { bits == 8 ? 128 : 64 }
    /// The byte of zero.
    public var zeroByte: Int { zero + byteOffset }
    /// Codes that zero is subtracted from: (low, high) = (−limit − zero, limit − zero).
    public var range: (low: Float, high: Float) { (Float((lowest ?? -limit) - zero), Float(limit - zero)) }
}

/// The integers of a layer: how its input is encoded, and its weights as codes.
public struct IntegerLayer: Sendable, Hashable {
    public var input: Encoding
    /// In the order of `WeightedLayer.weights`, each at most the limit of the input's bits in size.
    public var weights: [Int8]
    /// [outputs]: weight ≈ code/scale.
    public var weightScales: [Float]

    public init(input: Encoding, weights: [Int8], weightScales: [Float]) {
        self.input = input
        self.weights = weights
        self.weightScales = weightScales
    }

    /// Encodes weights with a scale for each output: clamp(round(w·scale), ±limit), to nearest even.
    public init(input: Encoding, encoding layer: WeightedLayer, scales: [Float]) {
        let (outputs, depth, limit) = (layer.output.channels, layer.depth, Float(input.limit))
        // A float of this size keeps whole numbers only: adding it rounds to nearest even, and leaves the number in the low bits.
        let magic: Float = 0x1.8p23
        let codes = [Int8](unsafeUninitializedCapacity: layer.weights.count) { codes, count in
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
        self.init(input: input, weights: codes, weightScales: scales)
    }
}
