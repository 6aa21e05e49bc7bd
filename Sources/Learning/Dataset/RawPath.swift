internal import Foundation

/// A file name as the system has it: bytes, which need not be UTF-8.
struct RawPath: Hashable, Sendable, CustomStringConvertible {
    var bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }
    init(_ text: String) { bytes = Array(text.utf8) }

    /// For people: what is not UTF-8 is replaced.
    var description: String { String(decoding: bytes, as: UTF8.self) }

    /// What follows the last dot, in lower case; empty if there is none.
    var fileExtension: String {
        guard let dot = bytes.lastIndex(of: 0x2E), dot > 0 else { return "" }
        return String(decoding: bytes[(dot + 1)...], as: UTF8.self).lowercased()
    }

    func appending(_ name: RawPath) -> RawPath { RawPath(bytes: bytes + [0x2F] + name.bytes) }

    func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        body(bytes.map { CChar(bitPattern: $0) } + [0])
    }

    /// What the system says of the file, a link's target followed; nil with `errno` set if there is none.
    var status: stat? {
        var status = stat()
        return withCString { stat($0, &status) } == 0 ? status : nil
    }

    /// As `status`, of a link itself.
    var linkStatus: stat? {
        var status = stat()
        return withCString { lstat($0, &status) } == 0 ? status : nil
    }

    /// The names in a folder but those that begin with a dot, ascending by bytes.
    ///
    /// - Throws: `DatasetError` if it cannot be listed.
    func names() throws(DatasetError) -> [RawPath] {
        func failure() -> DatasetError {
            DatasetError(.missingFile, path: description, "cannot be listed: \(String(cString: strerror(errno)))")
        }
        guard let directory = withCString({ opendir($0) }) else { throw failure() }
        defer { closedir(directory) }
        var names: [RawPath] = []
        errno = 0
        while let entry = readdir(directory) {
            // From the entry itself: it may be longer than its declared type.
            let offset = MemoryLayout<dirent>.offset(of: \.d_name) ?? 0
            let name = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: UInt8.self)
            let length = strlen(UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
            if length > 0 && name[0] != 0x2E {
                names.append(RawPath(bytes: Array(UnsafeBufferPointer(start: name, count: length))))
            }
            errno = 0
        }
        if errno != 0 { throw failure() }
        return names.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
    }
}

extension stat {
    var isFolder: Bool { st_mode & S_IFMT == S_IFDIR }
    var isFile: Bool { st_mode & S_IFMT == S_IFREG }
}
