internal import Glibc

/// The open descriptors of all files of the store: a bounded number of them, whatever the number of files.
///
/// A process has 1,024 by default, for its connections too, and a table may have as many slices with a file each. The
/// file that was not used for longest is closed, and opened again when it is used.
package final class DescriptorPool: @unchecked Sendable {
    package static let shared = DescriptorPool(limit: standardLimit)

    /// A descriptor that is open now and then. All of it is touched with the pool's lock held only.
    final class Entry {
        var path: String
        let flags: Int32
        fileprivate var descriptor: Int32 = -1
        /// How many calls use the descriptor at the moment.
        fileprivate var users = 0
        fileprivate var lastUse: UInt64 = 0
        /// Written since it was synced.
        var isDirty = false
        /// Why it could not be synced. Final: the system may have dropped what it could not write.
        var syncFailure: CenterStoreError?

        init(_ path: String, _ flags: Int32) { (self.path, self.flags) = (path, flags) }
    }

    package let limit: Int
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var opened: [Entry] = []
    private var clock: UInt64 = 0

    init(limit: Int) {
        self.limit = limit
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// A quarter of what the process may have.
    private static var standardLimit: Int {
        var bounds = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &bounds) == 0 else { return 64 }
        return Int(max(8, min(bounds.rlim_cur / 4, 256)))
    }

    /// Descriptors that are open now.
    package var openCount: Int { locked { opened.count } }

    func locked<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Opens a file for the first time: with `creation` beside its flags.
    func open(_ entry: Entry, creation: Int32) throws(CenterStoreError) {
        try locked { () throws(CenterStoreError) in try openNow(entry, creation) }
    }

    /// Calls `body` with the descriptor, which stays open meanwhile.
    func use<Result>(
        _ entry: Entry, _ body: (Int32) throws(CenterStoreError) -> Result
    ) throws(CenterStoreError) -> Result {
        let descriptor = try locked { () throws(CenterStoreError) -> Int32 in
            if entry.descriptor < 0 { try openNow(entry, 0) }
            clock += 1
            entry.lastUse = clock
            entry.users += 1
            return entry.descriptor
        }
        defer { locked { entry.users -= 1 } }
        return try body(descriptor)
    }

    /// Closes the file for good.
    func close(_ entry: Entry) { locked { closeNow(entry) } }

    private func openNow(_ entry: Entry, _ creation: Int32) throws(CenterStoreError) {
        while opened.count >= limit, makeRoom() {}
        while true {
            let injected = DiskFaults.shared.hit(.open, entry.path)
            let descriptor = injected == 0 ? Glibc.open(entry.path, entry.flags | creation | O_CLOEXEC, 0o644) : -1
            if descriptor >= 0 {
                entry.descriptor = descriptor
                opened.append(entry)
                clock += 1
                entry.lastUse = clock
                return
            }
            let number = injected == 0 ? errno : injected
            if number == EINTR { continue }
            // Others in this process may have taken more than their part.
            if number == EMFILE || number == ENFILE, makeRoom() { continue }
            let isWritten = entry.flags & O_ACCMODE != O_RDONLY
            throw FileIO.failure(entry.path, isWritten ? "cannot be opened" : "cannot be read", number)
        }
    }

    /// Closes the file that was not used for longest, one without unsynced writes if there is one.
    ///
    /// - Returns: false if all are in use.
    private func makeRoom() -> Bool {
        func oldest(_ isDirty: Bool) -> Entry? {
            opened.filter { $0.users == 0 && $0.isDirty == isDirty }.min { $0.lastUse < $1.lastUse }
        }
        guard let entry = oldest(false) ?? oldest(true) else { return false }
        // The error of a write that fails later would have nobody to be reported to.
        if entry.isDirty, entry.syncFailure == nil { syncNow(entry, entry.descriptor) }
        closeNow(entry)
        return true
    }

    private func closeNow(_ entry: Entry) {
        guard entry.descriptor >= 0 else { return }
        Glibc.close(entry.descriptor)
        entry.descriptor = -1
        opened.removeAll { $0 === entry }
    }

    private func syncNow(_ entry: Entry, _ descriptor: Int32) {
        entry.isDirty = false
        if let number = Self.sync(descriptor, entry.path) {
            entry.syncFailure = FileIO.failure(entry.path, "cannot be synced", number)
        }
    }

    /// The error, nil if the contents are on the disk.
    static func sync(_ descriptor: Int32, _ path: String) -> Int32? {
        while true {
            let injected = DiskFaults.shared.hit(.sync, path)
            if injected != 0 { return injected }
            if fdatasync(descriptor) == 0 { return nil }
            if errno != EINTR { return errno }
        }
    }
}
