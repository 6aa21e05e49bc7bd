/// A dense row-major array: an element type, a shape, and shared storage.
///
/// Copying a tensor copies the reference, not the elements.
///
/// ```swift
/// let features = Tensor(zeros: Float.self, shape: [128, 512])
/// features.mutable(Float.self)[0] = 1
/// ```
///
/// Elements are looked at through `span`, or, by kernels, in `withPointer` and `withMutablePointer`.
///
/// **Pointers do not keep a tensor alive.** A local constant is released after the last place that mentions it, which may be
/// before the last use of a pointer that was taken from it; a temporary is released at once. `rawPointer`, `buffer` and
/// `mutable` are safe where something else holds the storage until the pointer's last use: the tensor is a parameter, a
/// stored property of an object that is in use, captured by the closure that uses the pointer, or mentioned again (returned,
/// stored) afterwards. Elsewhere take `span`, `withPointer` or a copy (`array`).
public struct Tensor: Sendable {
    public let dtype: DType
    /// Extent of each axis, slowest first.
    public let shape: [Int]
    public let storage: TensorStorage
    /// Offset of the first element in `storage`, in bytes.
    public let byteOffset: Int

    /// Number of elements.
    public var count: Int { shape.reduce(1, *) }
    /// Length of the elements in bytes.
    public var byteCount: Int { count * dtype.size }
    /// The first byte of the first element. Does not keep the tensor alive: see `Tensor`.
    public var rawPointer: UnsafeMutableRawPointer { unsafe storage.base + byteOffset }

    /// A view of `storage`. Traps if it does not fit: decoders check sizes before they make tensors.
    public init(dtype: DType, shape: [Int], storage: TensorStorage, byteOffset: Int = 0) {
        self.dtype = dtype
        self.shape = shape
        self.storage = storage
        self.byteOffset = byteOffset
        precondition(
            byteOffset >= 0 && byteOffset + shape.reduce(1, *) * dtype.size <= storage.byteCount,
            "a tensor of shape \(shape) and type \(dtype) at offset \(byteOffset) exceeds \(storage.byteCount) bytes")
        let address = unsafe UInt(bitPattern: storage.base) + UInt(byteOffset)
        precondition(address % UInt(dtype.size) == 0, "misaligned tensor storage")
    }

    /// A tensor of uninitialised elements.
    public init<Element: TensorElement>(uninitialized type: Element.Type, shape: [Int]) {
        self.init(
            dtype: Element.dtype, shape: shape,
            storage: TensorStorage(byteCount: shape.reduce(1, *) * Element.dtype.size))
    }

    /// A tensor of zeros.
    public init<Element: TensorElement>(zeros type: Element.Type, shape: [Int]) {
        self.init(uninitialized: type, shape: shape)
        unsafe withMutablePointer(type) { unsafe $0.initialize(repeating: Element.zero) }
    }

    /// A tensor with a copy of `elements`; one axis unless `shape` is given.
    public init<Element: TensorElement>(_ elements: [Element], shape: [Int]? = nil) {
        self.init(uninitialized: Element.self, shape: shape ?? [elements.count])
        precondition(count == elements.count, "\(elements.count) elements do not fill shape \(self.shape)")
        unsafe withMutablePointer(Element.self) { _ = unsafe $0.initialize(fromContentsOf: elements) }
    }

    /// The elements, to read. Does not keep the tensor alive: see `Tensor`. Traps on another element type.
    public func buffer<Element: TensorElement>(_ type: Element.Type) -> UnsafeBufferPointer<Element> {
        unsafe UnsafeBufferPointer(mutable(type))
    }

    /// The elements, to write: only before the tensor is handed on. Does not keep the tensor alive: see `Tensor`.
    public func mutable<Element: TensorElement>(_ type: Element.Type) -> UnsafeMutableBufferPointer<Element> {
        precondition(dtype == Element.dtype, "a tensor of \(dtype) was read as \(Element.dtype)")
        return unsafe UnsafeMutableBufferPointer(
            start: rawPointer.bindMemory(to: Element.self, capacity: count), count: count)
    }

    /// A copy of the elements. Safe on any tensor, a temporary one too.
    public func array<Element: TensorElement>(_ type: Element.Type) -> [Element] {
        unsafe withPointer(type) { unsafe Array($0) }
    }

    /// Rows `range` of the first axis, sharing storage.
    public func rows(_ range: Range<Int>) -> Tensor {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= shape[0], "rows \(range) of a tensor of shape \(shape)")
        let rowBytes = shape.dropFirst().reduce(1, *) * dtype.size
        return Tensor(
            dtype: dtype, shape: [range.count] + shape.dropFirst(), storage: storage,
            byteOffset: byteOffset + range.lowerBound * rowBytes)
    }

    /// The same elements under another shape of equal count.
    public func reshaped(_ shape: [Int]) -> Tensor {
        precondition(shape.reduce(1, *) == count, "shape \(self.shape) cannot become \(shape)")
        return Tensor(dtype: dtype, shape: shape, storage: storage, byteOffset: byteOffset)
    }
}
