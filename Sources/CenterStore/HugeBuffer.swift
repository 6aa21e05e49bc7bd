internal import Glibc

/// Zeroed floats in anonymous memory of their own, in huge pages where the system has them.
///
/// Pages that were never written take no memory: the momentum of a class that was never sampled is free.
/// A plain reference to memory: whoever owns it decides which thread touches which part.
package final class HugeBuffer: @unchecked Sendable {
    package let base: UnsafeMutablePointer<Float>
    package let count: Int
    private let mappedByteCount: Int

    /// Gathers of 2 KB rows are limited by address translation: huge pages make them 1.5 times faster.
    private static let hugePageThreshold = 4 << 20

    package init(count: Int) throws(CenterStoreError) {
        let (bytes, overflow) = max(count, 16).multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
        let address =
            overflow
            ? MAP_FAILED : mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let address, address != MAP_FAILED else {
            throw CenterStoreError(
                .memory, "no memory for \(count) numbers (\(bytes >> 20) MiB): use more shards or free memory")
        }
        // Advice only: without huge pages everything works, slower.
        if bytes >= Self.hugePageThreshold { _ = madvise(address, bytes, MADV_HUGEPAGE) }
        base = address.bindMemory(to: Float.self, capacity: bytes / MemoryLayout<Float>.stride)
        self.count = count
        mappedByteCount = bytes
    }

    deinit { munmap(base, mappedByteCount) }
}
