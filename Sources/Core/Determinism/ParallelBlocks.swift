internal import CKernels
internal import Dispatch
internal import Synchronization

/// Runs independent blocks of arithmetic on a fixed number of threads.
///
/// One block is computed by one thread from start to end, so the number of threads changes when a block runs and
/// never what it computes.
public struct ParallelBlocks: Sendable {
    /// How many threads compute at once.
    public let threads: Int

    public init(threads: Int) {
        precondition(threads > 0, "at least one thread must compute")
        self.threads = threads
    }

    /// Calls `body(block, thread)` for every block in 0..<count, with denormals flushed to zero; returns when all are done.
    ///
    /// Blocks are taken in ascending order. `thread` is in 0..<threads and not used by two blocks at a time.
    public func forEach(_ count: Int, _ body: @Sendable (_ block: Int, _ thread: Int) -> Void) {
        let next = Atomic<Int>(0)
        @Sendable func run(_ thread: Int) {
            let previous = pfc_flush_denormals_enter()
            defer { pfc_flush_denormals_leave(previous) }
            while true {
                let block = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if block >= count { return }
                body(block, thread)
            }
        }
        if threads == 1 || count <= 1 {
            run(0)
        } else {
            DispatchQueue.concurrentPerform(iterations: threads) { run($0) }
        }
    }

    /// As `forEach`, with blocks in descending order: for a pass over what an ascending one has used, the end of which is still
    /// near, in caches or, of files, in memory.
    public func forEachFromLast(_ count: Int, _ body: @Sendable (_ block: Int, _ thread: Int) -> Void) {
        forEach(count) { body(count - 1 - $0, $1) }
    }
}
