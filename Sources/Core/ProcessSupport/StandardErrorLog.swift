internal import Foundation
public import Logging

/// A log handler that writes one line a message to standard error: time, level, who, message, metadata.
public struct StandardErrorLog: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    private let label: String

    public init(label: String, level: Logger.Level) {
        self.label = label
        logLevel = level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
        let tail =
            fields.isEmpty
            ? ""
            : " "
                + fields.sorted { $0.key < $1.key }.map { "\($0.key)=\("\($0.value)".printable)" }.joined(
                    separator: " ")
        var seconds = time(nil)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let clock = String(format: "%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec)
        // What others say of themselves is shown, not obeyed, and makes no lines of its own.
        let message = "\(event.message)".printableLines
        FileHandle.standardError.write(Data("\(clock) \(event.level) \(label): \(message)\(tail)\n".utf8))
    }
}
