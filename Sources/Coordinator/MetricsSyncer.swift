import Foundation
import ProcessSupport

/// Brings what is appended to a file to the disk, on a thread of its own and as fast as the disk can: a power cut costs the lines
/// of a moment, and the loop does not wait.
final class MetricsSyncer: @unchecked Sendable {
    private let descriptor: Int32
    private let thread = ComputeThread(name: "metrics")
    private let lock = NSLock()
    /// What is not known to be on the disk, and where it lies: after a failed sync it is written again, for the system may have
    /// dropped it.
    private var unsynced = Data()
    private var offset = 0
    private var isScheduled = false
    private var failure = ""
    private static let limit = 4 << 20

    init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { thread.close() }

    /// Why the file could not be synced the last time, or empty.
    var problem: String { lock.withLock { failure } }

    /// `data` was written at `position`.
    func wrote(_ data: Data, at position: Int) {
        lock.withLock {
            if unsynced.isEmpty || offset + unsynced.count != position { (unsynced, offset) = (Data(), position) }
            unsynced += data
            if unsynced.count > Self.limit {
                let surplus = unsynced.count - Self.limit
                unsynced = Data(unsynced.dropFirst(surplus))
                offset += surplus
            }
            guard !isScheduled else { return }
            isScheduled = true
            thread.submit { [weak self] in self?.run() }
        }
    }

    /// The file was cut at `end`.
    func cut(at end: Int) {
        lock.withLock { unsynced = Data(unsynced.prefix(max(0, end - offset))) }
    }

    /// Syncs now. A disk that cannot is asked again with the next line.
    func sync() {
        let (data, position, hasFailed) = lock.withLock { (unsynced, offset, !failure.isEmpty) }
        var number: Int32 = 0
        if hasFailed { number = Self.write(data, descriptor, position) }
        if number == 0, fdatasync(descriptor) != 0 { number = errno }
        lock.withLock {
            failure = number == 0 ? "" : String(cString: strerror(number))
            guard number == 0 else { return }
            // Lines may have come meanwhile, or the file may have been cut.
            if offset == position, unsynced.count >= data.count {
                unsynced = Data(unsynced.dropFirst(data.count))
                offset += data.count
            }
        }
    }

    private func run() {
        lock.withLock { isScheduled = false }
        sync()
    }

    private static func write(_ data: Data, _ descriptor: Int32, _ position: Int) -> Int32 {
        data.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count, let base = bytes.baseAddress {
                let count = pwrite(descriptor, base + done, bytes.count - done, position + done)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return count == 0 ? ENOSPC : errno }
                done += count
            }
            return 0
        }
    }
}
