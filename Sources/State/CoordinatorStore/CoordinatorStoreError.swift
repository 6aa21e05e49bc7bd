/// Why the coordinator's decisions cannot be kept or read.
public struct CoordinatorStoreError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// No room on the disk. Nothing was changed; the same call may be repeated.
        case diskFull
        /// The directory or file cannot be made, read or written.
        case io
        /// Another process uses the directory.
        case locked
        /// The file is not a database of a coordinator, or is damaged.
        case damaged
        /// A newer version of this program has written the file.
        case version
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
