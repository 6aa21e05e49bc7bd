internal import Tensors

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
