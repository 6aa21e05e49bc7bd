/// Bytes at an aligned address, freed with their owner.
final class AlignedMemory: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    let byteCount: Int

    init(byteCount: Int) {
        self.byteCount = byteCount
        pointer = .allocate(byteCount: max(64, byteCount), alignment: 64)
    }

    /// A copy of an array.
    convenience init<Element: BitwiseCopyable>(_ elements: [Element]) {
        self.init(byteCount: elements.count * MemoryLayout<Element>.stride)
        elements.withUnsafeBytes {
            if let base = $0.baseAddress { pointer.copyMemory(from: base, byteCount: $0.count) }
        }
    }

    deinit { pointer.deallocate() }

    func of<Element>(_ type: Element.Type) -> UnsafeMutablePointer<Element> {
        pointer.assumingMemoryBound(to: type)
    }
}
