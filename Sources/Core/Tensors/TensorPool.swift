internal import CKernels
internal import Glibc

/// Memory for large tensors that is used again: fresh pages cost more than what is done with them.
///
/// What it lends is aligned to a page, in huge pages where the system has them, and comes back by itself when the storage's
/// last reference is gone. A bounded amount of it is kept; the rest goes back to the system. What is shorter than half a
/// MiB comes from the allocator. May be used from any thread.
public final class TensorPool: Sendable {
    private let blocks: PoolBlocks

    /// - Parameter idleByteCapacity: bytes that are kept while nobody uses them.
    public init(idleByteCapacity: Int = 1 << 30) { blocks = PoolBlocks(idleByteCapacity: idleByteCapacity) }

    /// Uninitialised bytes: what they held before, or zeros. nil when the system has no more.
    public func storage(byteCount: Int) -> TensorStorage? {
        precondition(byteCount >= 0, "a tensor's size cannot be negative: \(byteCount)")
        // Not worth pages of its own, which may be huge ones.
        if byteCount < 512 << 10 { return TensorStorage(byteCount: byteCount) }
        guard let block = blocks.take(byteCount) else { return nil }
        return unsafe TensorStorage(foreign: block.base, byteCount: byteCount) { [blocks] in blocks.giveBack(block) }
    }

    /// Gives back to the system what nobody has used for `duration`.
    public func giveBack(idleFor duration: Duration) { blocks.giveBack(idleSince: .now - duration) }

    /// Bytes that wait to be used again.
    public var idleByteCount: Int { blocks.idleByteCount }

    /// Bytes that are lent.
    public var lentByteCount: Int { blocks.lentByteCount }
}

/// The pool's memory; outlives the pool while something is lent.
@safe private final class PoolBlocks: @unchecked Sendable {
    @safe struct Block: @unchecked Sendable {
        let base: UnsafeMutableRawPointer
        let capacity: Int
        /// When it came back.
        var idleSince = ContinuousClock.now
    }

    /// A huge page.
    private static let granule = 2 << 20

    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let idleByteCapacity: Int
    /// The one that came back last is at the end: it is the likeliest to be in a cache.
    private var idle: [Block] = []
    private var idleBytes = 0
    private var lentBytes = 0

    init(idleByteCapacity: Int) {
        self.idleByteCapacity = idleByteCapacity
        unsafe pthread_mutex_init(lock, nil)
    }

    deinit {
        for block in idle { unsafe munmap(block.base, block.capacity) }
        unsafe pthread_mutex_destroy(lock)
        unsafe lock.deallocate()
    }

    var idleByteCount: Int { withLock { idleBytes } }
    var lentByteCount: Int { withLock { lentBytes } }

    func take(_ byteCount: Int) -> Block? {
        // Sizes vary a little from step to step. A block of twice the size would be a waste.
        let room = byteCount + byteCount / 16
        let granules = max(1, (room + Self.granule - 1) / Self.granule)
        let found: Block? = withLock {
            let index = idle.lastIndex { $0.capacity >= byteCount && $0.capacity / 2 <= granules * Self.granule }
            guard let index else { return nil }
            let block = idle.remove(at: index)
            idleBytes -= block.capacity
            lentBytes += block.capacity
            return block
        }
        if let found { return found }
        let capacity = granules * Self.granule
        guard let base = unsafe pfc_map(capacity, Self.granule) else { return nil }
        // Advice only: without huge pages everything works, slower.
        _ = unsafe madvise(base, capacity, MADV_HUGEPAGE)
        withLock { lentBytes += capacity }
        return unsafe Block(base: base, capacity: capacity)
    }

    func giveBack(_ block: Block) {
        let surplus: [Block] = withLock {
            lentBytes -= block.capacity
            // The others need not make room for what is too large to be kept.
            guard block.capacity <= idleByteCapacity else { return [block] }
            unsafe idle.append(Block(base: block.base, capacity: block.capacity))
            idleBytes += block.capacity
            var surplus: [Block] = []
            while idleBytes > idleByteCapacity {
                let oldest = idle.removeFirst()
                idleBytes -= oldest.capacity
                surplus.append(oldest)
            }
            return surplus
        }
        for block in surplus { unsafe munmap(block.base, block.capacity) }
    }

    func giveBack(idleSince time: ContinuousClock.Instant) {
        let surplus: [Block] = withLock {
            // The one that came back first is the first.
            let count = idle.prefix { $0.idleSince <= time }.count
            let surplus = Array(idle.prefix(count))
            idle.removeFirst(count)
            idleBytes -= surplus.reduce(0) { $0 + $1.capacity }
            return surplus
        }
        for block in surplus { unsafe munmap(block.base, block.capacity) }
    }

    private func withLock<Result>(_ body: () -> Result) -> Result {
        unsafe pthread_mutex_lock(lock)
        defer { unsafe pthread_mutex_unlock(lock) }
        return body()
    }
}
