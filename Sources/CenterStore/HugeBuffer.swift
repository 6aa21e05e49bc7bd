internal import CKernels
internal import Glibc

/// Zeroed floats in anonymous memory of their own, in huge pages where the system has them.
///
/// Pages that were never written take no memory: the momentum of a class that was never sampled is free.
/// A plain reference to memory: whoever owns it decides which thread touches which part.
package final class HugeBuffer: @unchecked Sendable {
    package private(set) var base: UnsafeMutablePointer<Float>
    package private(set) var count: Int
    private var byteCount: Int
    private var isMapped: Bool

    /// Smaller buffers come from the allocator: thousands of small slices are not worth a mapping each.
    private static let mappingThreshold = 64 << 10
    /// Gathers of 2 KB rows are limited by address translation: huge pages make them 1.5 times faster. The mappings of
    /// neighbouring slices are joined by the system, so that pages are huge even where slices are smaller than one.
    private static let hugePageThreshold = 256 << 10

    package init(count: Int) throws(CenterStoreError) {
        (base, byteCount, isMapped) = try Self.allocate(count)
        self.count = count
    }

    deinit { Self.release(base, byteCount, isMapped) }

    /// Makes room for `count` floats; what was there stays, the new ones are zero. Pointers taken before are void.
    ///
    /// - Throws: `CenterStoreError` if there is no memory; nothing has changed then.
    package func grow(to count: Int) throws(CenterStoreError) {
        if count <= self.count { return }
        if isMapped {
            let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
            guard !overflow, let moved = pfc_grow_mapping(base, byteCount, bytes) else { throw Self.noMemory(count) }
            if bytes >= Self.hugePageThreshold { _ = madvise(moved, bytes, MADV_HUGEPAGE) }
            base = moved.assumingMemoryBound(to: Float.self)
            byteCount = bytes
        } else {
            let new = try Self.allocate(count)
            new.base.update(from: base, count: self.count)
            Self.release(base, byteCount, isMapped)
            (base, byteCount, isMapped) = new
        }
        self.count = count
    }

    private static func allocate(_ count: Int) throws(CenterStoreError) -> (
        base: UnsafeMutablePointer<Float>, byteCount: Int, isMapped: Bool
    ) {
        let (bytes, overflow) = max(count, 16).multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
        if overflow { throw noMemory(count) }
        if bytes < mappingThreshold {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
            return (memory.bindMemory(to: Float.self, capacity: count), bytes, false)
        }
        let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let address, address != MAP_FAILED else { throw noMemory(count) }
        // Advice only: without huge pages everything works, slower.
        if bytes >= hugePageThreshold { _ = madvise(address, bytes, MADV_HUGEPAGE) }
        return (address.bindMemory(to: Float.self, capacity: count), bytes, true)
    }

    private static func release(_ base: UnsafeMutablePointer<Float>, _ byteCount: Int, _ isMapped: Bool) {
        if isMapped { munmap(base, byteCount) } else { UnsafeMutableRawPointer(base).deallocate() }
    }

    private static func noMemory(_ count: Int) -> CenterStoreError {
        let size = count < Int.max / 4 ? " (\(count * 4 >> 20) MiB)" : ""
        return CenterStoreError(.memory, "no memory for \(count) numbers\(size): use more shards or free memory")
    }
}
