internal import COpenBLAS

/// The matrix products of the head. OpenBLAS is told once to stay on the calling thread.
enum BLAS {
    private static let singleThreaded: Void = openblas_set_num_threads(1)

    static func prepare() { singleThreaded }

    /// c [m, n] = a [m, k] · bᵀ, b [n, k].
    static func productWithTransposed(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
        _ c: UnsafeMutablePointer<Float>
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(n), blasint(k), 1, a, blasint(k), b,
            blasint(k),
            0, c, blasint(n))
    }

    /// c [m, n] += a [m, k] · b [k, n].
    static func addProduct(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
        _ c: UnsafeMutablePointer<Float>
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a, blasint(k), b,
            blasint(n), 1, c, blasint(n))
    }

    /// c [m, n] = aᵀ · b, a [k, m] whose rows are `stride` apart, b [k, n].
    static func transposedProduct(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, stride: Int, _ b: UnsafePointer<Float>,
        _ c: UnsafeMutablePointer<Float>
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a, blasint(stride), b,
            blasint(n),
            0, c, blasint(n))
    }
}
