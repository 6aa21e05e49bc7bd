internal import Foundation

/// An advisory lock on a file that one process at a time holds; given back when the value is released or the process ends.
package final class FileLock {
    private let descriptor: Int32

    /// Waits for the lock on `path`, which is created if needed.
    ///
    /// - Throws: `DatasetError` if the file cannot be created.
    package init(path: String) throws(DatasetError) {
        // Assigned last: an initializer that throws after that runs `deinit` too.
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else {
            throw DatasetError(.unwritableFile, path: path, "cannot be created: \(String(cString: strerror(errno)))")
        }
        while flock(file, LOCK_EX) != 0 {
            guard errno == EINTR else {
                let problem = String(cString: strerror(errno))
                close(file)
                throw DatasetError(.unwritableFile, path: path, "cannot be locked: \(problem)")
            }
        }
        descriptor = file
    }

    deinit { close(descriptor) }
}
