internal import Tensors

/// A tensor's memory that is used again in the next step, unless someone still holds it (a message on its way out).
struct ReusableTensor {
    private var storage: TensorStorage?

    /// An uninitialised tensor. What was handed out before is not touched.
    mutating func next<Element: TensorElement>(_ type: Element.Type, shape: [Int]) -> Tensor {
        next(Element.dtype, shape: shape)
    }

    /// The same, of a type that is known at run time.
    mutating func next(_ dtype: DType, shape: [Int]) -> Tensor {
        let bytes = shape.reduce(1, *) * dtype.size
        if storage.map({ $0.byteCount < bytes }) ?? true || !isKnownUniquelyReferenced(&storage) {
            // A little room to grow: the number of sampled rows varies by a few from step to step.
            storage = nil
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
