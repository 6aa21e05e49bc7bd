internal import COpenBLAS

/// Scalar products of many rows.
enum Products {
    private static let singleThreaded: Void = openblas_set_num_threads(1)

    /// a · b, in 16 sums that are added at the end.
    static func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
        var sums = SIMD16<Float>()
        var k = 0
        while k + 16 <= count {
            let x = UnsafeRawPointer(a + k).loadUnaligned(as: SIMD16<Float>.self)
            let y = UnsafeRawPointer(b + k).loadUnaligned(as: SIMD16<Float>.self)
            sums += x * y
            k += 16
        }
        var sum = sums.sum()
        while k < count {
            sum += a[k] * b[k]
            k += 1
        }
        return sum
    }

    /// rows × rows of the products of `m` rows of `a` with `n` rows of `b`, all of length `size`, on the calling thread.
    static func matrix(
        _ a: UnsafePointer<Float>, _ m: Int, _ b: UnsafePointer<Float>, _ n: Int, _ size: Int,
        into target: UnsafeMutablePointer<Float>
    ) {
        _ = singleThreaded
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(n), blasint(size), 1, a, blasint(size), b,
            blasint(size), 0, target, blasint(n))
    }
}

extension Products {
    /// The product of a row of `a` and one of `b`, which begin at these places.
    static func dot(_ a: [Float], _ i: Int, _ b: [Float], _ j: Int, _ size: Int) -> Float {
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in dot(a.baseAddress! + i, b.baseAddress! + j, size) }
        }
    }

    /// The products of rows of `a` with rows of `b`, rows × rows, at the beginning of `target`.
    static func matrix(
        _ a: [Float], _ rows: Range<Int>, _ b: [Float], _ columns: Range<Int>, _ size: Int, into target: inout [Float]
    ) {
        precondition(target.count >= rows.count * columns.count, "no room for the products")
        guard !rows.isEmpty, !columns.isEmpty else { return }
        target.withUnsafeMutableBufferPointer { target in
            a.withUnsafeBufferPointer { a in
                b.withUnsafeBufferPointer { b in
                    matrix(
                        a.baseAddress! + rows.lowerBound * size, rows.count, b.baseAddress! + columns.lowerBound * size,
                        columns.count, size, into: target.baseAddress!)
                }
            }
        }
    }
}
