internal import CKernels
internal import Glibc

/// Zeroed bytes in memory of their own: anonymous, in huge pages where the system has them, or of a file.
///
/// Anonymous pages that were never written take no memory: what an optimiser keeps of a class that was never sampled is free.
/// A plain reference to memory: whoever owns it decides which thread touches which part.
package final class HugeBuffer: @unchecked Sendable {
    /// At a multiple of 64.
    package private(set) var base: UnsafeMutableRawPointer
    /// Bytes in use.
    package private(set) var byteCount: Int
    /// Length of the mapping or of the allocated block.
    private var capacity: Int
    private var isMapped: Bool
    private let memory: TableMemory

    /// Smaller buffers come from the allocator: thousands of small slices are not worth a mapping each.
    private static let mappingThreshold = 64 << 10
    /// Gathers of 2 KB rows are limited by address translation: huge pages make them 1.5 times faster. The mappings of
    /// neighbouring slices are joined by the system, so that pages are huge even where slices are smaller than one.
    private static let hugePageThreshold = 256 << 10
    /// A mapping that has room for a huge page begins at one.
    private static let hugePageByteCount = 2 << 20

    package init(byteCount: Int, memory: TableMemory = .anonymous) throws(CenterStoreError) {
        (base, capacity, isMapped) = try Self.allocate(byteCount, memory)
        self.byteCount = byteCount
        self.memory = memory
    }

    deinit { Self.release(base, capacity, isMapped) }

    /// Makes room for `byteCount` bytes; what was there stays, the new ones are zero. Pointers taken before are void.
    ///
    /// - Throws: `CenterStoreError` if there is no memory; nothing has changed then.
    package func grow(to byteCount: Int) throws(CenterStoreError) {
        if byteCount <= self.byteCount { return }
        if isMapped, memory == .anonymous {
            guard let moved = pfc_grow_mapping(base, capacity, byteCount, Self.alignment(of: byteCount)) else {
                throw Self.noMemory(byteCount)
            }
            (base, capacity) = (moved, byteCount)
            advise()
        } else if byteCount > capacity {
            let new = try Self.allocate(byteCount, memory)
            new.base.copyMemory(from: base, byteCount: self.byteCount)
            Self.release(base, capacity, isMapped)
            (base, capacity, isMapped) = new
        }
        self.byteCount = byteCount
    }

    private static func alignment(of byteCount: Int) -> Int { byteCount >= hugePageByteCount ? hugePageByteCount : 64 }

    private static func allocate(_ byteCount: Int, _ memory: TableMemory) throws(CenterStoreError) -> (
        base: UnsafeMutableRawPointer, capacity: Int, isMapped: Bool
    ) {
        let capacity = max(byteCount, 64)
        if capacity < mappingThreshold {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
            memory.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
            return (memory, capacity, false)
        }
        if case .files(let directory) = memory {
            guard let address = pfc_map_file(directory, capacity) else {
                throw CenterStoreError(
                    .memory,
                    "no file of \(capacity >> 20) MiB for a part of the table in \(directory): \(String(cString: strerror(errno)))"
                )
            }
            return (address, capacity, true)
        }
        guard let address = pfc_map(capacity, alignment(of: capacity)) else { throw noMemory(capacity) }
        advise(address, capacity)
        return (address, capacity, true)
    }

    private func advise() { Self.advise(base, capacity) }

    /// Advice only: without huge pages everything works, slower.
    private static func advise(_ base: UnsafeMutableRawPointer, _ byteCount: Int) {
        if byteCount >= hugePageThreshold { _ = madvise(base, byteCount, MADV_HUGEPAGE) }
    }

    private static func release(_ base: UnsafeMutableRawPointer, _ capacity: Int, _ isMapped: Bool) {
        if isMapped { munmap(base, capacity) } else { base.deallocate() }
    }

    private static func noMemory(_ byteCount: Int) -> CenterStoreError {
        CenterStoreError(.memory, "no memory for \(byteCount >> 20) MiB: use more shards or free memory")
    }
}
