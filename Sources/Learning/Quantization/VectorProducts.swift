/// a·b, a·a and b·b of parts of two arrays, in double precision and one order of summation: the same bits on every machine.
struct VectorProducts {
    private var (ab, aa, bb) = (0.0, 0.0, 0.0)

    init(_ a: UnsafeBufferPointer<Float>, _ b: UnsafeBufferPointer<Float>, _ range: Range<Int>) {
        var lanes = (SIMD8<Double>(), SIMD8<Double>(), SIMD8<Double>())
        let whole = range.lowerBound + range.count / 8 * 8
        for start in stride(from: range.lowerBound, to: whole, by: 8) {
            let x = SIMD8<Double>(UnsafeRawPointer(a.baseAddress! + start).loadUnaligned(as: SIMD8<Float>.self))
            let y = SIMD8<Double>(UnsafeRawPointer(b.baseAddress! + start).loadUnaligned(as: SIMD8<Float>.self))
            lanes.0 += x * y
            lanes.1 += x * x
            lanes.2 += y * y
        }
        for lane in 0..<8 {
            ab += lanes.0[lane]
            aa += lanes.1[lane]
            bb += lanes.2[lane]
        }
        for index in whole..<range.upperBound {
            let (x, y) = (Double(a[index]), Double(b[index]))
            ab += x * y
            aa += x * x
            bb += y * y
        }
    }

    /// 1 for two vectors of zeros, 0 for one.
    var cosine: Double { aa == 0 || bb == 0 ? (aa == bb ? 1 : 0) : ab / (aa * bb).squareRoot() }
}
