internal import CKernels
import Tensors

/// Gives memory back that a burst has left with the allocator and with the pool of large tensors.
///
/// What steps use again and again is left alone: only a process that has grown since the last time gives back what it does not use.
struct MemoryKeeper {
    /// Set when much was let go of at once.
    var isDue = false
    private var next = ContinuousClock.now + .seconds(10)
    private var base: Int?
    /// A block of the pool that was not used for so long is not needed for the steps.
    private static let idle = Duration.seconds(30)

    mutating func turn(_ now: ContinuousClock.Instant, pool: TensorPool) {
        guard now >= next else { return }
        next = now + .seconds(isDue ? 2 : 5)
        pool.giveBack(idleFor: Self.idle)
        let resident = Int(pfc_resident_byte_count())
        let limit = base.map { $0 + max(6 << 20, $0 / 10) } ?? 0
        guard isDue || resident > limit else {
            base = min(base ?? resident, resident)
            return
        }
        pfc_give_back_freed_memory()
        base = Int(pfc_resident_byte_count())
        // What was ended just now may not have been freed yet.
        isDue = isDue && resident > limit
    }
}
