/// Bytes that tensors refer to: aligned memory of our own, or memory owned by something else (a received message).
///
/// Storage is shared by reference. Whoever creates it may write to it until it is handed on; afterwards it is only read.
/// That rule, and not the compiler, makes it safe to send between threads.
@safe public final class TensorStorage: @unchecked Sendable {
    /// First byte. Memory allocated here is aligned to 64 bytes, foreign memory to the tensor's element.
    public let base: UnsafeMutableRawPointer
    /// Length in bytes.
    public let byteCount: Int
    private let release: @Sendable () -> Void

    /// Allocates `byteCount` uninitialised bytes aligned to 64.
    public init(byteCount: Int) {
        precondition(byteCount >= 0, "a tensor's size cannot be negative: \(byteCount)")
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 64), alignment: 64)
        unsafe base = memory
        self.byteCount = byteCount
        let address = UInt(bitPattern: memory)
        release = { unsafe UnsafeMutableRawPointer(bitPattern: address)?.deallocate() }
    }

    /// Refers to `byteCount` bytes at `base` that stay valid until `release` is called, once, from any thread.
    public init(foreign base: UnsafeMutableRawPointer, byteCount: Int, release: @escaping @Sendable () -> Void) {
        unsafe self.base = base
        self.byteCount = byteCount
        self.release = release
    }

    deinit { release() }

    /// Calls `body` with the bytes.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(self) {} }
        return try unsafe body(UnsafeRawBufferPointer(start: base, count: byteCount))
    }
}
