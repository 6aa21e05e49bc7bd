internal import Foundation

/// What a worker leaves where it runs: a locked file with its incarnation. The next process there reads whom it takes the place of.
///
/// The lock is the system's: it is free when the process is dead, however it died. And the number is known to nobody else, so that the
/// coordinator can believe whoever says it. A container that is started again keeps its files.
public final class WorkerTrace: Sendable {
    /// The incarnation of the process that is dead; 0 for none.
    public let predecessor: UInt64
    private let descriptor: Int32

    /// - Parameters:
    ///   - cluster: what distinguishes workers of one machine that have nothing to do with each other.
    ///   - directory: where; that of temporary files if nil.
    /// - Returns: nil if nothing can be left there. Then a death costs a lease.
    public init?(cluster: String, incarnation: UInt64, directory: String? = nil) {
        let folder =
            (directory ?? FileManager.default.temporaryDirectory.path) + "/partialfc-workers-\(geteuid())"
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { return nil }
        var status = stat()
        guard lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(),
            status.st_mode & 0o022 == 0
        else { return nil }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in cluster.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        guard let (descriptor, predecessor) = Self.take("\(folder)/\(String(hash, radix: 16))") else { return nil }
        self.descriptor = descriptor
        self.predecessor = predecessor
        write("\(incarnation)")
    }

    /// Nothing is left: the process ends in good order.
    public func clear() { write("") }

    deinit { close(descriptor) }

    private func write(_ text: String) {
        guard ftruncate(descriptor, 0) == 0 else { return }
        _ = text.withCString { pwrite(descriptor, $0, strlen($0), 0) }
    }

    /// Locks a file that a dead process has left, or else an empty or new one.
    private static func take(_ path: String) -> (descriptor: Int32, predecessor: UInt64)? {
        var spare: Int32?
        for slot in 0..<256 {
            let name = "\(path)-\(slot)"
            let isKnown = access(name, F_OK) == 0
            if !isKnown, let spare { return (spare, 0) }
            let descriptor = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { break }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                close(descriptor)
                continue
            }
            if let predecessor = read(descriptor) {
                if let spare { close(spare) }
                return (descriptor, predecessor)
            }
            if spare == nil { spare = descriptor } else { close(descriptor) }
            if !isKnown { break }
        }
        return spare.map { ($0, 0) }
    }

    private static func read(_ descriptor: Int32) -> UInt64? {
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? UInt64(String(decoding: bytes.prefix(count), as: UTF8.self)) : nil
    }
}
