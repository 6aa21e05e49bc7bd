internal import CKernels
import Tensors

/// Gives memory back that a burst has left with the allocator and with the pool of large tensors.
///
/// What is freed in the middle of the allocator's memory stays with the process until it is asked to give it back. When that is worth it
/// nobody says: ZeroMQ and the owner free some of a burst at once and some a minute later. So it is tried, soon after memory has grown
/// or a connection was ended, then less and less often, since steps would only take again what they use.
package struct MemoryKeeper {
    /// Set when much was let go of at once.
    package var isDue = false
    private var next: ContinuousClock.Instant
    private var interval = Self.shortest
    /// The least that the process was seen with.
    private var least: Int?
    /// What it had when that was last looked at.
    private var last = 0
    /// A block of the pool that was not used for so long is not needed for the steps.
    private static let idle = Duration.seconds(30)
    private static let shortest = Duration.seconds(5)
    private static let longest = Duration.seconds(60)

    package init(_ now: ContinuousClock.Instant = .now) { next = now + .seconds(10) }

    mutating func turn(_ now: ContinuousClock.Instant, pool: TensorPool) {
        turn(
            now, resident: { Int(pfc_resident_byte_count()) },
            giveBack: {
                pool.giveBack(idleFor: Self.idle)
                pfc_give_back_freed_memory()
            })
    }

    /// - Parameters:
    ///   - resident: bytes of the process.
    ///   - giveBack: gives back what nobody uses.
    package mutating func turn(_ now: ContinuousClock.Instant, resident: () -> Int, giveBack: () -> Void) {
        if isDue {
            isDue = false
            interval = Self.shortest
            next = min(next, now + .seconds(2))
        }
        guard now >= next else { return }
        let before = resident()
        if before > last + Self.slack(last) { interval = Self.shortest }
        last = before
        if let least, before > least + Self.slack(least) {
            giveBack()
            next = now + interval
            interval = min(interval * 2, Self.longest)
        } else {
            next = now + Self.shortest
        }
        least = min(least ?? before, before)
    }

    private static func slack(_ byteCount: Int) -> Int { max(4 << 20, byteCount / 10) }
}
