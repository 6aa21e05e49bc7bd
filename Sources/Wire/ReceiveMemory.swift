internal import Synchronization
import Tensors

/// Where large tensors are received, and how they are numbered.
enum ReceiveMemory {
    /// For all sockets of the process, so that what one connection received last is there for the next.
    static let pool = TensorPool()

    /// Stands for a tensor of a peer that has yet to say hello: its message will be refused, nobody reads it.
    static func placeholder(byteCount: Int) -> TensorStorage {
        TensorStorage(foreign: empty.base, byteCount: byteCount) {}
    }

    private static let empty = TensorStorage(byteCount: 64)

    /// A number for the fragments of a message, not 0, different from those of all others of this process.
    static func nextSeries() -> UInt64 { series.add(1, ordering: .relaxed).newValue }

    private static let series = Atomic<UInt64>(0)
}
