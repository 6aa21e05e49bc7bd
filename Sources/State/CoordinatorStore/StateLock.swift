internal import Glibc

/// A lock on a directory that goes with the process, however it ends.
final class StateLock {
    private var descriptor: Int32

    /// Takes the lock and leaves the process id in the file, for the message that a second process gets.
    init(path: String) throws(CoordinatorStoreError) {
        // Assigned last: an initializer that throws after that runs `deinit` too.
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else {
            throw CoordinatorStoreError(.io, "\(path) cannot be opened: \(String(cString: strerror(errno)))")
        }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let problem = errno
            let holder = Self.text(file)
            close(file)
            guard problem == EWOULDBLOCK else {
                throw CoordinatorStoreError(.io, "\(path) cannot be locked: \(String(cString: strerror(problem)))")
            }
            throw CoordinatorStoreError(
                .locked,
                "\(path) is held by another coordinator (process \(holder)); end that one, or use another --state directory"
            )
        }
        let line = "\(getpid())\n"
        ftruncate(file, 0)
        // Only a hint for people: a full disk must not keep the coordinator from starting.
        _ = pwrite(file, line, line.utf8.count, 0)
        descriptor = file
    }

    /// Gives the lock back; nothing the second time.
    func release() {
        guard descriptor >= 0 else { return }
        // Closed alone, it would stay locked as long as a child that was just forked has the file too.
        flock(descriptor, LOCK_UN)
        close(descriptor)
        descriptor = -1
    }

    deinit { release() }

    private static func text(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        let digits = bytes.prefix(max(0, count)).prefix { (0x30...0x39).contains($0) }
        return digits.isEmpty ? "unknown" : String(decoding: digits, as: UTF8.self)
    }
}
