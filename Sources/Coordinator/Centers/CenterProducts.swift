internal import CKernels
internal import Determinism
internal import ProcessSupport
package import Tensors

/// Products of class centers, on all cores.
package enum CenterProducts {
    /// Rows that a core takes at a time.
    private static let block = 64

    /// <query, row> for rows f32 [n, D].
    package static func of(_ query: [Float], with rows: Tensor) -> [Float] {
        let (count, width) = (rows.shape[0], rows.shape[1])
        var products = [Float](repeating: 0, count: count)
        query.withUnsafeBufferPointer { query in
            products.withUnsafeMutableBufferPointer { products in
                rows.withPointer(Float.self) { rows in
                    guard let query = query.baseAddress, let a = rows.baseAddress, let out = products.baseAddress else {
                        return
                    }
                    of(a, count, query, 1, width: width, into: out)
                }
            }
        }
        return products
    }

    /// a · bᵀ [m, n] of rows [m, D] and [n, D], into `products`.
    package static func of(
        _ a: UnsafePointer<Float>, _ m: Int, _ b: UnsafePointer<Float>, _ n: Int, width: Int,
        into products: UnsafeMutablePointer<Float>
    ) {
        let work = Shared((a: a, b: b, products: products))
        ParallelBlocks(threads: ProcessorCores.usableCount).forEach((m + block - 1) / block) { index, _ in
            let first = index * block
            pfc_row_products(
                work.value.a + first * width, min(block, m - first), work.value.b, n, width,
                work.value.products + first * n)
        }
    }
}
