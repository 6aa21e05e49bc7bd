internal import Foundation

/// Paths as people write them.
public enum HomeDirectory {
    /// `path` with `~` or `~/` at its beginning replaced by the home directory of this user.
    ///
    /// No shell has seen a path of a file, so nobody else replaces it; left as it is, it would become a directory called `~`.
    ///
    /// - Throws: `HomeDirectoryError` for the home directory of somebody else, or if there is none.
    public static func expand(_ path: String) throws(HomeDirectoryError) -> String {
        guard path.hasPrefix("~") else { return path }
        let rest = path.dropFirst()
        guard rest.isEmpty || rest.hasPrefix("/") else {
            throw HomeDirectoryError(
                path: path,
                problem:
                    "begins with ~, and only ~/ is replaced by a home directory; write the whole path, or ./\(path.shown) for a directory of this name"
            )
        }
        let home = ProcessInfo.processInfo.environment["HOME"] ?? ""
        guard home.hasPrefix("/") else {
            throw HomeDirectoryError(path: path, problem: "begins with ~, and HOME is not set; write the whole path")
        }
        let base = home.count > 1 && home.hasSuffix("/") ? String(home.dropLast()) : home
        return base == "/" ? (rest.isEmpty ? "/" : String(rest)) : base + rest
    }
}

/// Why `~` cannot be replaced.
public struct HomeDirectoryError: Error, CustomStringConvertible {
    /// What was written.
    public var path: String
    /// What is wrong with it.
    public var problem: String

    public var description: String { "\(path.shown) \(problem)" }
}
