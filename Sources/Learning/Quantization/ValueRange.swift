internal import Inference
internal import Tensors

/// The values of a layer's input over a calibration.
struct ValueRange: Sendable {
    let low: Float
    let high: Float

    init(_ values: Tensor) {
        var (low, high) = (Float.infinity, -Float.infinity)
        for x in values.buffer(Float.self) {
            low = x < low ? x : low
            high = x > high ? x : high
        }
        self.init(low: low, high: high)
    }

    init(low: Float, high: Float) {
        self.low = low
        self.high = high
    }

    /// What is smaller counts as zero: its scale would not be finite.
    static let smallest: Float = 1e-30

    /// The largest in size; 1 where everything is zero.
    var largest: Float {
        let size = max(abs(low), abs(high))
        return size > Self.smallest && size.isFinite ? size : 1
    }

    /// Codes for everything in the range, with the same range for both signs.
    func symmetric(bits: Int) -> Encoding {
        Encoding(bits: bits, scale: Float(Encoding.limit(bits: bits)) / largest)
    }

    /// Codes for everything in the range, low at the lowest code.
    func asymmetric(bits: Int) -> Encoding {
        let (low, high) = (min(low, 0), max(high, 0))
        guard high - low > Self.smallest, (high - low).isFinite else { return symmetric(bits: bits) }
        return Self.asymmetric(bits: bits, low: low, scale: Float(2 * Encoding.limit(bits: bits)) / (high - low))
    }

    /// Codes from `low` on at a scale.
    static func asymmetric(bits: Int, low: Float, scale: Float) -> Encoding {
        let limit = Float(Encoding.limit(bits: bits))
        let zero = max(-limit, min(limit, (-limit - low * scale).rounded(.toNearestOrEven)))
        return Encoding(bits: bits, scale: scale, zero: Int(zero))
    }
}
