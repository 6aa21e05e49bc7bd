package import Tensors

/// A tensor's memory that is used again in the next step, unless someone still holds it (a message on its way out).
///
/// Much memory of which less than a quarter is wanted again and again goes back: a stage with many sampled rows may be over.
package struct ReusableTensor {
    private var storage: TensorStorage?
    /// How often in a row less than a quarter of it was wanted.
    private var smallUses = 0
    /// Steps over all slices and replays of a single one may take turns for a while.
    private static let patience = 16
    /// Less is kept whatever is wanted, in bytes.
    private static let keptByteCount = 64 << 20

    package init() {}

    /// Bytes that are kept.
    package var byteCount: Int { storage?.byteCount ?? 0 }

    /// An uninitialised tensor. What was handed out before is not touched.
    mutating func next<Element: TensorElement>(_ type: Element.Type, shape: [Int]) -> Tensor {
        next(Element.dtype, shape: shape)
    }

    /// The same, of a type that is known at run time.
    package mutating func next(_ dtype: DType, shape: [Int]) -> Tensor {
        let bytes = shape.reduce(1, *) * dtype.size
        smallUses = byteCount > Self.keptByteCount && bytes < byteCount / 4 ? smallUses + 1 : 0
        if byteCount < bytes || smallUses > Self.patience || !isKnownUniquelyReferenced(&storage) {
            // A little room to grow: the number of sampled rows varies by a few from step to step.
            (storage, smallUses) = (nil, 0)
            storage = TensorStorage(byteCount: bytes + bytes / 16)
        }
        return Tensor(dtype: dtype, shape: shape, storage: storage ?? TensorStorage(byteCount: bytes))
    }
}

extension TensorPool {
    /// An uninitialised tensor. Traps when the system has no more memory, as every other tensor does.
    func tensor(_ dtype: DType, _ shape: [Int]) -> Tensor {
        let byteCount = shape.reduce(1, *) * dtype.size
        return Tensor(
            dtype: dtype, shape: shape, storage: storage(byteCount: byteCount) ?? TensorStorage(byteCount: byteCount))
    }
}
