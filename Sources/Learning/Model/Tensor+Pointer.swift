package import Tensors

extension Tensor {
    /// The first element. Tensors always have memory behind them, even empty ones. Does not keep the tensor alive.
    package func pointer<Element: TensorElement>(_ type: Element.Type) -> UnsafeMutablePointer<Element> {
        rawPointer.assumingMemoryBound(to: type)
    }
}
