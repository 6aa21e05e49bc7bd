internal import CKernels
import Glibc

/// A few descriptors that are kept for the time when there are no others.
///
/// A listening socket without descriptors to accept with stays readable, and ZeroMQ's thread would turn without end. With one of these it
/// accepts the connection, which is ended at once: so nobody waits and nothing turns. Used by the socket's thread.
struct SpareDescriptors {
    private var descriptors: [Int32] = []
    private static let count = 8

    init() { refill() }

    /// Whether some are lent.
    var isShort: Bool { descriptors.count < Self.count }

    /// Gives one to whoever needs it most urgently; false if there is none.
    mutating func lend() -> Bool {
        guard let last = descriptors.popLast() else { return false }
        close(last)
        return true
    }

    /// Takes back what it can.
    mutating func refill() {
        while descriptors.count < Self.count {
            let descriptor = pfc_spare_descriptor()
            guard descriptor >= 0 else { return }
            descriptors.append(descriptor)
        }
    }

    mutating func closeAll() {
        for descriptor in descriptors { close(descriptor) }
        descriptors = []
    }
}
