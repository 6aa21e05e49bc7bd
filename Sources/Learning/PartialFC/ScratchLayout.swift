internal import Tensors

/// How the scratch memory of a thread is shared out: pieces with a name and a type, each at a multiple of 64 bytes.
struct ScratchLayout {
    /// A piece of the memory. Whoever uses its pointer keeps the memory alive.
    struct Piece<Element: BitwiseCopyable> {
        fileprivate let offset: Int

        func pointer(in memory: Tensor) -> UnsafeMutablePointer<Element> {
            (memory.rawPointer + offset).assumingMemoryBound(to: Element.self)
        }
    }

    private var byteCount = 0

    /// Room for `count` elements.
    mutating func piece<Element: BitwiseCopyable>(_ count: Int, of type: Element.Type = Element.self) -> Piece<Element>
    {
        defer { byteCount += (count * MemoryLayout<Element>.stride + 63) / 64 * 64 }
        return Piece(offset: byteCount)
    }

    /// Floats that hold all pieces.
    var floatCount: Int { byteCount / MemoryLayout<Float>.stride }
}
