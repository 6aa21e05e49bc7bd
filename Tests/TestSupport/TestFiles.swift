internal import Foundation

/// The folder with real data (`DATA_DIR`, or `../shared/data`), or nil.
public let dataDirectory: String? = {
    let path = ProcessInfo.processInfo.environment["DATA_DIR"] ?? "../shared/data"
    return FileManager.default.fileExists(atPath: path) ? path : nil
}()

/// A folder for one test, removed afterwards.
public final class TemporaryFolder {
    public let path: String

    /// - Throws: if the folder cannot be made.
    public init() throws {
        path = FileManager.default.temporaryDirectory.path + "/partialfc-files-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file, with the folders it lies in, and returns its path.
    ///
    /// - Throws: if it cannot be written.
    public func write(_ bytes: [UInt8], to name: String) throws -> String {
        let file = path + "/" + name
        try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return file
    }
}
