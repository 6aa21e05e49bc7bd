internal import CKernels
internal import Inference
internal import Tensors

/// How the encoding of a layer's input is chosen from its values alone: what EasyQuant starts from, and is compared with.
public enum RangeMethod: String, Sendable, CaseIterable, Codable {
    /// Everything is representable.
    case max
    /// All but the 0.01 % outermost are.
    case percentile
    /// The range whose histogram diverges least from its quantised form (Migacz, *8-bit Inference with TensorRT*, 2017).
    case kl
    /// The range with the least squared error of the values.
    case mse

    /// - Parameters:
    ///   - range: of the values.
    ///   - zeroPoint: whether negative and positive values may have different ranges.
    func encoding(_ values: Tensor, _ range: ValueRange, bits: Int, zeroPoint: Bool) -> Encoding {
        // Without a zero both signs have the larger one's range.
        func encoding(_ low: Float, _ high: Float) -> Encoding {
            let range = ValueRange(low: low, high: high)
            return zeroPoint ? range.asymmetric(bits: bits) : range.symmetric(bits: bits)
        }
        guard self != .max, range.high - range.low > ValueRange.smallest, (range.high - range.low).isFinite else {
            return encoding(range.low, range.high)
        }
        let histogram = ValueHistogram(values, range: range, isSigned: zeroPoint, skipsZeros: self == .kl)
        switch self {
        case .max: return encoding(range.low, range.high)
        case .percentile:
            let (low, high) = histogram.percentile(0.0001)
            return encoding(low, high)
        case .kl:
            let high = histogram.leastDivergence(levels: zeroPoint ? 1 << bits : 1 << (bits - 1))
            return encoding(Swift.max(range.low, zeroPoint ? range.low : -high), high)
        case .mse:
            // The paper's grid, for the range instead of its inverse.
            let candidates = (0...100).map { Float(0.5) + Float($0) * 0.005 }
            let encodings = candidates.map { encoding(range.low * $0, range.high * $0) }
            let errors = encodings.map { histogram.squaredError($0) }
            let best = errors.indices.min { (errors[$0], $0) < (errors[$1], $1) } ?? 0
            return encodings[best]
        }
    }
}

/// How often values lie where, in 2048 bins.
struct ValueHistogram {
    static let binCount = 2048
    private let low: Float
    private let width: Float
    private var counts = [Int](repeating: 0, count: Self.binCount)
    private let isSigned: Bool
    private let range: ValueRange

    /// - Parameters:
    ///   - isSigned: whether bins go from the lowest to the highest value, or over sizes from 0 on.
    ///   - skipsZeros: whether exact zeros, which every encoding has, are left out: behind a ReLU they are half of all values, and
    ///     a divergence would see nothing else.
    init(_ values: Tensor, range: ValueRange, isSigned: Bool, skipsZeros: Bool) {
        self.isSigned = isSigned
        self.range = range
        low = isSigned ? Swift.min(range.low, 0) : 0
        let high = isSigned ? Swift.max(range.high, 0) : range.largest
        width = (high - low) / Float(Self.binCount)
        let scale = 1 / width
        for x in values.buffer(Float.self) where !skipsZeros || x != 0 {
            // What is no number counts as nothing.
            let place = ((isSigned ? x : abs(x)) - low) * scale
            counts[place > 0 ? (place < Float(Self.binCount) ? Int(place) : Self.binCount - 1) : 0] += 1
        }
    }

    private func edge(_ bin: Int) -> Float { low + width * Float(bin) }

    /// The range without the share `outside` at each end that there is.
    func percentile(_ outside: Double) -> (low: Float, high: Float) {
        let allowed = Int(outside * Double(counts.reduce(0, +)))
        var (first, last, below, above) = (0, Self.binCount - 1, 0, 0)
        while last > 0, above + counts[last] <= allowed {
            above += counts[last]
            last -= 1
        }
        guard isSigned else { return (-edge(last + 1), edge(last + 1)) }
        while first < last, below + counts[first] <= allowed {
            below += counts[first]
            first += 1
        }
        return (edge(first), edge(last + 1))
    }

    /// Σ (x − decoded code of x)², each value in the middle of its bin.
    func squaredError(_ encoding: Encoding) -> Double {
        var sum = 0.0
        let (lowest, highest) = encoding.range
        for (bin, count) in counts.enumerated() where count > 0 {
            let x = edge(bin) + width / 2
            let sizes: [Float] = isSigned ? [x] : [x, -x]
            // Of sizes both signs count, if there are both.
            let signs = isSigned || range.low >= 0 ? [sizes[0]] : sizes
            for x in signs {
                let code = Swift.min(highest, Swift.max(lowest, (x * encoding.scale).rounded(.toNearestOrEven)))
                let d = Double(x) - Double(code / encoding.scale)
                sum += Double(count) * d * d / Double(signs.count)
            }
        }
        return sum
    }

    /// The upper end for which the values, clipped there, diverge least from their form in `levels` levels.
    func leastDivergence(levels: Int) -> Float {
        var best = (divergence: Double.infinity, end: Self.binCount)
        let zero = isSigned ? Int(((0 - low) / width).rounded(.down)) : 0
        for end in stride(from: Swift.min(Self.binCount, zero + levels), through: Self.binCount, by: 8) {
            var p = counts[0..<end].map(Double.init)
            p[end - 1] += Double(counts[end...].reduce(0, +))
            var q = [Double](repeating: 0, count: end)
            for level in 0..<levels {
                let bins = end * level / levels..<end * (level + 1) / levels
                let filled = bins.filter { counts[$0] > 0 }
                if filled.isEmpty { continue }
                let mean = Double(bins.reduce(0) { $0 + counts[$1] }) / Double(filled.count)
                for bin in filled { q[bin] = mean }
            }
            let (sumP, sumQ) = (p.reduce(0, +), q.reduce(0, +))
            guard sumP > 0, sumQ > 0 else { continue }
            var divergence = 0.0
            for bin in 0..<end where p[bin] > 0 {
                let (a, b) = (p[bin] / sumP, Swift.max(q[bin] / sumQ, 1e-12))
                divergence += a * pfc_logarithm(a / b)
            }
            if divergence < best.divergence { best = (divergence, end) }
        }
        return edge(best.end)
    }
}
