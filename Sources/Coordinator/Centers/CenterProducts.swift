import COpenBLAS
import Tensors

/// Products of class centers, by OpenBLAS on all cores.
enum CenterProducts {
    /// <query, row> for rows f32 [n, D].
    static func of(_ query: [Float], with rows: Tensor) -> [Float] {
        let (count, width) = (rows.shape[0], rows.shape[1])
        var products = [Float](repeating: 0, count: count)
        cblas_sgemv(
            CblasRowMajor, CblasNoTrans, blasint(count), blasint(width), 1, rows.buffer(Float.self).baseAddress,
            blasint(width), query, 1, 0, &products, 1)
        return withExtendedLifetime(rows) { products }
    }

    /// a · bᵀ [m, n] of rows [m, D] and [n, D], into `products`.
    static func of(
        _ a: UnsafePointer<Float>, _ m: Int, _ b: UnsafePointer<Float>, _ n: Int, width: Int,
        into products: UnsafeMutablePointer<Float>
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(n), blasint(width), 1, a, blasint(width), b,
            blasint(width), 0, products, blasint(n))
    }
}
