internal import Glibc

/// An open file that is read and written at offsets. Nothing but the kernel's own state changes, so that several
/// threads may use it at different offsets.
package final class StoreFile: Sendable {
    package enum Mode: Sendable {
        /// An existing file, to read.
        case read
        /// An existing file, to read and write.
        case update
        /// A new or emptied file, to read and write.
        case create
    }

    package let path: String
    private let descriptor: Int32

    package init(_ path: String, _ mode: Mode) throws(CenterStoreError) {
        self.path = path
        let flags =
            switch mode {
            case .read: O_RDONLY
            case .update: O_RDWR
            case .create: O_RDWR | O_CREAT | O_TRUNC
            }
        descriptor = open(path, flags | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileIO.failure(path, mode == .read ? "cannot be read" : "cannot be opened") }
    }

    deinit { close(descriptor) }

    package var byteCount: Int {
        get throws(CenterStoreError) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw FileIO.failure(path, "cannot be read") }
            return Int(status.st_size)
        }
    }

    /// Writes pieces one after the other from `offset` on, without copying them together.
    package func write(_ pieces: [UnsafeRawBufferPointer], at offset: Int) throws(CenterStoreError) {
        var vectors = pieces.filter { !$0.isEmpty }.map {
            iovec(iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress), iov_len: $0.count)
        }
        var (first, offset) = (0, offset)
        while first < vectors.count {
            // The system takes at most 1024 pieces at a time.
            let written = vectors.withUnsafeBufferPointer {
                pwritev(descriptor, $0.baseAddress! + first, Int32(min($0.count - first, 1024)), offset)
            }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw FileIO.failure(path, "cannot be written", written == 0 ? ENOSPC : errno) }
            offset += written
            var left = written
            while first < vectors.count, left >= vectors[first].iov_len {
                left -= vectors[first].iov_len
                first += 1
            }
            if left > 0 {
                vectors[first].iov_base += left
                vectors[first].iov_len -= left
            }
        }
    }

    /// Fills `target` with the bytes from `offset` on.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if the file ends before.
    package func read(into target: UnsafeMutableRawBufferPointer, at offset: Int) throws(CenterStoreError) {
        var done = 0
        while done < target.count {
            let count = pread(descriptor, target.baseAddress! + done, target.count - done, offset + done)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileIO.failure(path, "cannot be read at offset \(offset + done)") }
            guard count > 0 else {
                throw CenterStoreError(.damaged, "\(path) ends at offset \(offset + done): it was cut off")
            }
            done += count
        }
    }

    /// Reads like `read(into:at:)`, and adds the bytes to `checksum` while they are in the cache.
    package func read(
        into target: UnsafeMutableRawBufferPointer, at offset: Int, _ checksum: inout Checksum
    ) throws(CenterStoreError) {
        for start in stride(from: 0, to: target.count, by: 256 << 10) {
            let piece = UnsafeMutableRawBufferPointer(
                rebasing: target[start..<min(start + 256 << 10, target.count)])
            try read(into: piece, at: offset + start)
            checksum.update(UnsafeRawBufferPointer(piece))
        }
    }

    package func truncate(to count: Int) throws(CenterStoreError) {
        while ftruncate(descriptor, count) != 0 {
            if errno != EINTR { throw FileIO.failure(path, "cannot be cut") }
        }
    }

    /// Makes the contents survive a power cut.
    package func sync() throws(CenterStoreError) {
        if fdatasync(descriptor) != 0 { throw FileIO.failure(path, "cannot be synced") }
    }
}
