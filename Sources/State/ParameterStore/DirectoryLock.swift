internal import Glibc

/// That this process alone uses a directory; given up when the value is released or the process ends, however it ends.
package final class DirectoryLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock of `directory`, which must exist.
    ///
    /// - Parameter advice: what the message says after the process that has it.
    /// - Throws: `CenterStoreError`, `.locked` if another process has it: the message names the process.
    package init(
        _ directory: String,
        advice: String = "every process needs a directory of its own; end that one, or name another directory"
    ) throws(CenterStoreError) {
        let path = directory + "/lock"
        // Assigned last: an initializer that throws after that runs `deinit` too.
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw FileIO.failure(path, "cannot be opened") }
        while flock(file, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            let (problem, holder) = (errno, Self.holder(file))
            close(file)
            guard problem == EWOULDBLOCK else { throw FileIO.failure(path, "cannot be locked", problem) }
            throw CenterStoreError(
                .locked,
                "\(directory) is in use by process \(holder): \(advice)"
            )
        }
        // Who holds it is information only: on a full disk the lock works without.
        let text = Array("\(getpid())\n".utf8)
        if ftruncate(file, 0) == 0 { _ = pwrite(file, text, text.count, 0) }
        descriptor = file
    }

    deinit {
        // Closed alone, it would stay locked as long as a child that was just forked has the file too.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    private static func holder(_ descriptor: Int32) -> String {
        var text = [UInt8](repeating: 0, count: 32)
        let count = pread(descriptor, &text, text.count, 0)
        let digits = text.prefix(max(0, count)).prefix { (48...57).contains($0) }
        return digits.isEmpty ? "?" : String(decoding: digits, as: UTF8.self)
    }
}
