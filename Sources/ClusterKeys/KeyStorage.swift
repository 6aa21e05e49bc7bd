internal import Foundation

/// Whether the permissions of key files are looked at.
public enum KeyPermissions: String, Sendable, CaseIterable {
    /// A secret that others may read is refused.
    case strict
    /// For secrets that a container engine mounts, with permissions that it chooses.
    case any
}

/// Reads and writes key files.
enum KeyStorage {
    /// What a file is like without reading it.
    struct Stamp: Equatable {
        var inode: UInt64
        var size: Int
        var seconds: Int
        var nanoseconds: Int
    }

    private static let limit = 1 << 20

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// - Throws: `KeyError` if there is no such file.
    static func stamp(_ path: String) throws -> Stamp {
        let status = try status(path)
        return Stamp(
            inode: UInt64(status.st_ino), size: Int(status.st_size), seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec)
    }

    private static func status(_ path: String) throws -> stat {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw KeyError("\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        return status
    }

    /// The text of a file.
    ///
    /// - Throws: `KeyError` if it cannot be read, is no text, or its permissions are too wide.
    static func read(_ path: String, secret: Bool, permissions: KeyPermissions) throws -> String {
        let status = try status(path)
        guard status.st_mode & S_IFMT == S_IFREG else { throw KeyError("\(path) is no file") }
        guard status.st_size <= limit else {
            throw KeyError("\(path) has \(status.st_size) bytes: no key file is so long")
        }
        if permissions == .strict {
            let mode = String(status.st_mode & 0o777, radix: 8)
            if secret, status.st_mode & 0o077 != 0 {
                throw KeyError(
                    "\(path) is secret, and others may read or write it (mode \(mode)): chmod 600 \(path), or, for a secret that a container engine mounts, PARTIALFC_KEYS_PERMISSIONS=any"
                )
            }
            if status.st_mode & 0o022 != 0 {
                throw KeyError(
                    "\(path) can be written by others (mode \(mode)), who could let themselves in: chmod go-w \(path)")
            }
        }
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
            throw KeyError("\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        guard let text = String(bytes: data, encoding: .utf8), !text.contains("\0") else {
            throw KeyError("\(path) is no text: it is damaged")
        }
        return text
    }

    /// Writes a file for its owner alone, in place of one that is there; all of it or nothing.
    ///
    /// - Throws: `KeyError` if it cannot be written.
    static func write(_ text: String, to path: String) throws {
        let temporary = "\(path).new-\(getpid())"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure(temporary) }
        var isDone = false
        defer {
            close(descriptor)
            if !isDone { unlink(temporary) }
        }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw failure(temporary) }
            bytes = bytes.dropFirst(count)
        }
        guard fsync(descriptor) == 0, rename(temporary, path) == 0 else { throw failure(path) }
        isDone = true
    }

    /// Makes a directory for its owner alone.
    ///
    /// - Throws: `KeyError` if it cannot be made or is there.
    static func makeDirectory(_ path: String) throws {
        guard mkdir(path, 0o700) == 0 else { throw failure(path) }
    }

    private static func failure(_ path: String) -> KeyError {
        KeyError("\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
}
