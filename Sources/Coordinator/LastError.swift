import Foundation
import ProcessSupport

/// Why the last `coordinator serve` in a state directory ended before it could serve: a file that a health check in the same container
/// shows, since nothing else is left to ask there.
struct LastError {
    static let fileName = "last-error"
    private var path: String

    init(stateDirectory: String) { path = stateDirectory + "/" + Self.fileName }

    /// What was written last, nil if nothing was.
    var text: String? {
        guard let data = FileManager.default.contents(atPath: path), !data.isEmpty else { return nil }
        return String(decoding: data.prefix(4096), as: UTF8.self)
    }

    /// A directory that cannot be written is not worth a second error: the first one is in the log.
    func write(_ error: any Error) {
        try? FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try? Data(SystemProblem.text(error).utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
