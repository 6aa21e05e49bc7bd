internal import COpenBLAS
internal import Tensors

/// Lets a value with pointers enter the blocks of `ParallelBlocks`. The blocks read it, or write disjoint parts of what it
/// points to, and are done before the owner goes on.
struct Shared<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// A tensor's memory that is used again in the next step, unless someone still holds it (a message on its way out).
struct ReusableTensor {
    private var storage: TensorStorage?

    /// An uninitialised tensor. What was handed out before is not touched.
    mutating func next<Element: TensorElement>(_ type: Element.Type, shape: [Int]) -> Tensor {
        let bytes = shape.reduce(1, *) * Element.dtype.size
        if storage.map({ $0.byteCount < bytes }) ?? true || !isKnownUniquelyReferenced(&storage) {
            // A little room to grow: the number of sampled rows varies by a few from step to step.
            storage = TensorStorage(byteCount: bytes + bytes / 16)
        }
        guard let storage else { return Tensor(uninitialized: type, shape: shape) }
        return Tensor(dtype: Element.dtype, shape: shape, storage: storage)
    }
}

/// The matrix products of the head. OpenBLAS is told once to stay on the calling thread.
enum BLAS {
    private static let singleThreaded: Void = openblas_set_num_threads(1)

    static func prepare() { singleThreaded }

    /// c [m, n] = a [m, k] · bᵀ, b [n, k].
    static func productWithTransposed(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(n), blasint(k), 1, a, blasint(k), b, blasint(k),
            0, c, blasint(n))
    }

    /// c [m, n] += a [m, k] · b [k, n].
    static func addProduct(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a, blasint(k), b,
            blasint(n), 1, c, blasint(n))
    }

    /// c [m, n] = aᵀ · b, a [k, m], b [k, n].
    static func transposedProduct(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
    ) {
        cblas_sgemm(
            CblasRowMajor, CblasTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k), 1, a, blasint(m), b, blasint(n),
            0, c, blasint(n))
    }
}
