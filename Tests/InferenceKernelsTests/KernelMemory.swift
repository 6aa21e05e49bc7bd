import CInference

/// Memory of a case. Every allocation has exactly the size that was asked for, so that a sanitizer sees a step beyond it.
final class KernelMemory {
    private var all: [UnsafeMutableRawPointer] = []

    func allocate<Number>(_ count: Int, of type: Number.Type) -> UnsafeMutablePointer<Number> {
        let raw = allocate(bytes: count * MemoryLayout<Number>.stride, alignment: MemoryLayout<Number>.alignment)
        return raw.bindMemory(to: type, capacity: count)
    }

    func allocate(bytes: Int, alignment: Int) -> UnsafeMutableRawPointer {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: max(bytes, 1), alignment: alignment)
        all.append(raw)
        return raw
    }

    deinit { for raw in all { raw.deallocate() } }
}
