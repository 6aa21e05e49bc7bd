internal import Glibc

/// File operations by path, with errors that name the path and say what to do.
package enum FileIO {
    /// The number that a file's name has; nil if it has none, or one that nobody counts up to.
    static func number(_ digits: some StringProtocol) -> Int? {
        Int(digits).flatMap { (0..<1 << 48).contains($0) ? $0 : nil }
    }

    /// The error for the current `errno`.
    package static func failure(_ path: String, _ what: String, _ number: Int32 = errno) -> CenterStoreError {
        let text = String(cString: strerror(number))
        switch number {
        case ENOSPC, EDQUOT:
            return CenterStoreError(.diskFull, "\(path) \(what): \(text); make room on its disk")
        case EACCES, EPERM, EROFS:
            return CenterStoreError(
                .io, "\(path) \(what): \(text); give this process the right to write there, or another directory")
        case EMFILE, ENFILE:
            return CenterStoreError(.io, "\(path) \(what): \(text); raise the limit of open files (ulimit -n)")
        default: return CenterStoreError(.io, "\(path) \(what): \(text)")
        }
    }

    /// Makes a directory, with those that it lies in. One that exists is no matter.
    package static func makeDirectory(_ path: String) throws(CenterStoreError) {
        if mkdir(path, 0o755) == 0 || errno == EEXIST && isDirectory(path) { return }
        if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try makeDirectory(String(path[..<slash]))
            if mkdir(path, 0o755) == 0 || errno == EEXIST && isDirectory(path) { return }
        }
        if errno == EEXIST { throw CenterStoreError(.io, "\(path) is a file, and must be a directory") }
        throw failure(path, "cannot be made")
    }

    package static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Names of the entries of a directory, sorted.
    package static func names(in directory: String) throws(CenterStoreError) -> [String] {
        guard let stream = opendir(directory) else { throw failure(directory, "cannot be listed") }
        defer { closedir(stream) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        if errno != 0 { throw failure(directory, "cannot be listed") }
        return names.sorted()
    }

    /// Removes a file. One that is not there is no matter.
    package static func remove(_ path: String) throws(CenterStoreError) {
        if unlink(path) != 0 && errno != ENOENT { throw failure(path, "cannot be removed") }
    }

    /// Removes an empty directory. One that is not there is no matter.
    package static func removeDirectory(_ path: String) throws(CenterStoreError) {
        if rmdir(path) != 0 && errno != ENOENT { throw failure(path, "cannot be removed") }
    }

    package static func rename(_ old: String, to new: String) throws(CenterStoreError) {
        let injected = DiskFaults.shared.hit(.rename, new)
        if injected != 0 { throw failure(old, "cannot be renamed to \(new)", injected) }
        if Glibc.rename(old, new) != 0 { throw failure(old, "cannot be renamed to \(new)") }
    }

    /// Gives a file a second name.
    ///
    /// - Returns: false if the file system cannot do that, for these two places or for this file any more.
    static func link(_ path: String, as other: String) throws(CenterStoreError) -> Bool {
        if Glibc.link(path, other) == 0 { return true }
        if [EXDEV, EPERM, EMLINK, ENOTSUP, ENOSYS].contains(errno) { return false }
        throw failure(path, "cannot be linked as \(other)")
    }

    /// Makes what was created, renamed and removed in a directory survive a power cut.
    package static func syncDirectory(_ path: String) throws(CenterStoreError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path, "cannot be opened") }
        defer { close(descriptor) }
        let injected = DiskFaults.shared.hit(.sync, path + "/")
        if injected != 0 { throw failure(path, "cannot be synced", injected) }
        while fsync(descriptor) != 0 { if errno != EINTR { throw failure(path, "cannot be synced") } }
    }

    /// Replaces a file by `bytes`, so that after a crash at any moment the old or the new one is there, whole and
    /// synced.
    package static func replace(_ path: String, with bytes: [UInt8]) throws(CenterStoreError) {
        try write(path) { (file) throws(CenterStoreError) in
            try bytes.withBytes { (source) throws(CenterStoreError) in try file.write([source], at: 0) }
        }
        try syncDirectory(directory(of: path))
    }

    /// Lets `body` write a file beside, which gets its name when it is synced.
    static func write(
        _ path: String, _ body: (StoreFile) throws(CenterStoreError) -> Void
    ) throws(CenterStoreError) {
        let temporary = path + temporarySuffix
        do throws(CenterStoreError) {
            let file = try StoreFile(temporary, .create)
            try body(file)
            try file.sync()
            try rename(temporary, to: path)
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// What names of unfinished files end in.
    package static let temporarySuffix = ".partial"

    package static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// All bytes of a small file, nil if there is none.
    package static func contents(of path: String) throws(CenterStoreError) -> [UInt8]? {
        if !exists(path) && errno == ENOENT { return nil }
        let file = try StoreFile(path, .read)
        let count = try file.byteCount
        guard count <= 1 << 30 else {
            throw CenterStoreError(
                .damaged, "\(path) is \(count) bytes long, which cannot be: restore it from a backup")
        }
        var bytes = [UInt8](repeating: 0, count: count)
        try bytes.withMutableBytes { (target) throws(CenterStoreError) in try file.read(into: target, at: 0) }
        return bytes
    }
}
