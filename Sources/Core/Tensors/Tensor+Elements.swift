/// The elements, as long as somebody looks at them: what is used here cannot be gone.
extension Tensor {
    /// The elements, to read. Traps on another element type.
    ///
    /// ```swift
    /// let labels = batch.labels.span(Int64.self)
    /// for index in labels.indices where labels[index] < 0 { … }
    /// ```
    @_lifetime(borrow self)
    public func span<Element: TensorElement>(_ type: Element.Type) -> Span<Element> {
        let span = unsafe Span(_unsafeElements: buffer(type))
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Calls `body` with the elements: for kernels, which want pointers. Traps on another element type.
    public func withPointer<Element: TensorElement, Result, Failure: Error>(
        _ type: Element.Type, _ body: (UnsafeBufferPointer<Element>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(storage) {} }
        return try unsafe body(buffer(type))
    }

    /// Calls `body` with the elements, to write: only before the tensor is handed on. Traps on another element type.
    public func withMutablePointer<Element: TensorElement, Result, Failure: Error>(
        _ type: Element.Type, _ body: (UnsafeMutableBufferPointer<Element>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(storage) {} }
        return try unsafe body(mutable(type))
    }

    /// Calls `body` with the bytes of the elements, of whatever type.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(storage) {} }
        return try unsafe body(UnsafeRawBufferPointer(start: rawPointer, count: byteCount))
    }
}
