internal import Glibc

/// A file that is read and written at offsets. Several threads may use it at different offsets.
///
/// Its descriptor is open when it is needed: see `DescriptorPool`.
package final class StoreFile: @unchecked Sendable {
    package enum Mode: Sendable {
        /// An existing file, to read.
        case read
        /// An existing file, to read and write.
        case update
        /// A new or emptied file, to read and write.
        case create
    }

    private let pool: DescriptorPool
    private let entry: DescriptorPool.Entry

    package convenience init(_ path: String, _ mode: Mode) throws(CenterStoreError) {
        try self.init(path, mode, pool: .shared)
    }

    init(_ path: String, _ mode: Mode, pool: DescriptorPool) throws(CenterStoreError) {
        self.pool = pool
        entry = DescriptorPool.Entry(path, mode == .read ? O_RDONLY | O_NONBLOCK : O_RDWR)
        try pool.open(entry, creation: mode == .create ? O_CREAT | O_TRUNC : 0)
    }

    deinit { pool.close(entry) }

    package var path: String { pool.locked { entry.path } }

    /// Why it could not be synced once, nil if that never happened. What was written to it since its last sync must not be relied on.
    package var syncFailure: CenterStoreError? { pool.locked { entry.syncFailure } }

    package var byteCount: Int {
        get throws(CenterStoreError) {
            try pool.use(entry) { (descriptor) throws(CenterStoreError) in
                var status = stat()
                guard fstat(descriptor, &status) == 0 else { throw FileIO.failure(path, "cannot be read") }
                return Int(status.st_size)
            }
        }
    }

    /// Writes pieces one after the other from `offset` on, without copying them together.
    package func write(_ pieces: [UnsafeRawBufferPointer], at offset: Int) throws(CenterStoreError) {
        try pool.use(entry) { (descriptor) throws(CenterStoreError) in
            pool.locked { entry.isDirty = true }
            let injected = DiskFaults.shared.hit(.write, path)
            if injected != 0 { throw FileIO.failure(path, "cannot be written", injected) }
            try Self.write(descriptor, pieces, at: offset) { FileIO.failure(path, "cannot be written", $0) }
        }
    }

    private static func write(
        _ descriptor: Int32, _ pieces: [UnsafeRawBufferPointer], at offset: Int, failure: (Int32) -> CenterStoreError
    ) throws(CenterStoreError) {
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
            guard written > 0 else { throw failure(written == 0 ? ENOSPC : errno) }
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
        guard let base = target.baseAddress else { return }
        try pool.use(entry) { (descriptor) throws(CenterStoreError) in
            var done = 0
            while done < target.count {
                let count = pread(descriptor, base + done, target.count - done, offset + done)
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else { throw FileIO.failure(path, "cannot be read at offset \(offset + done)") }
                guard count > 0 else {
                    throw CenterStoreError(.damaged, "\(path) ends at offset \(offset + done): it was cut off")
                }
                done += count
            }
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
        try pool.use(entry) { (descriptor) throws(CenterStoreError) in
            pool.locked { entry.isDirty = true }
            let injected = DiskFaults.shared.hit(.truncate, path)
            if injected != 0 { throw FileIO.failure(path, "cannot be cut", injected) }
            while ftruncate(descriptor, count) != 0 {
                if errno != EINTR { throw FileIO.failure(path, "cannot be cut") }
            }
        }
    }

    /// Makes the contents survive a power cut.
    ///
    /// - Throws: `CenterStoreError`, and from then on always: after a failure the system may have dropped what it could not write, and
    ///   reports success the next time. What counts must be written to another file.
    package func sync() throws(CenterStoreError) {
        try pool.use(entry) { (descriptor) throws(CenterStoreError) in
            if let failure = syncFailure { throw failure }
            // What is written from here on needs another sync.
            pool.locked { entry.isDirty = false }
            guard let number = DescriptorPool.sync(descriptor, path) else { return }
            let failure = FileIO.failure(path, "cannot be synced", number)
            pool.locked { entry.syncFailure = failure }
            throw failure
        }
    }

    /// Gives the file another name in its directory, in place of the file that has it.
    package func rename(to path: String) throws(CenterStoreError) {
        try FileIO.rename(self.path, to: path)
        pool.locked { entry.path = path }
    }
}
