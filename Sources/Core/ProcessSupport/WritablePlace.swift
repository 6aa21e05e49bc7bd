internal import Foundation

/// Places that are written at the end of long work: whether they can be is asked at its beginning.
public enum WritablePlace {
    /// Why no file can be written at `path`; nil if one can.
    public static func problem(ofFile path: String) -> String? {
        var information = stat()
        if stat(path, &information) == 0, information.st_mode & S_IFMT == S_IFDIR { return "\(path) is a directory" }
        return problem(ofDirectory: parent(of: path))
    }

    /// Why no file can be written in the directory `path`, which must be there; nil if one can.
    public static func problem(ofDirectory path: String) -> String? {
        var information = stat()
        guard stat(path, &information) == 0 else { return "\(path): \(String(cString: strerror(errno)))" }
        guard information.st_mode & S_IFMT == S_IFDIR else { return "\(path) is no directory" }
        guard access(path, W_OK | X_OK) == 0 else { return "\(path): \(String(cString: strerror(errno)))" }
        return nil
    }

    /// Why the directory `path` cannot be used, or made below the first one above it that is there; nil if it can.
    public static func problem(ofDirectoryToBe path: String) -> String? {
        var known = path
        while known != "/", known != ".", access(known, F_OK) != 0, errno == ENOENT { known = parent(of: known) }
        return problem(ofDirectory: known)
    }

    /// The directory that a path is in. (NSString's `deletingLastPathComponent` traps on a path of one letter.)
    private static func parent(of path: String) -> String {
        var parts = path.split(separator: "/")
        if parts.isEmpty { return path.hasPrefix("/") ? "/" : "." }
        parts.removeLast()
        let joined = parts.joined(separator: "/")
        return path.hasPrefix("/") ? "/" + joined : joined.isEmpty ? "." : joined
    }
}
