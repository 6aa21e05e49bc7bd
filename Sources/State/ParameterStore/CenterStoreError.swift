/// Why class centers could not be created, loaded or reached.
public struct CenterStoreError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// Class count, slice count or slice range make no sense.
        case layout
        /// A file of centers is missing, damaged or does not fit the configuration.
        case file
        /// The system gave no memory.
        case memory
        /// A class or slice is not held here.
        case notHeld
        /// A class operation does not fit the classes there are.
        case classes
        /// There is no room on the disk. Nothing is damaged; what was refused may be tried again.
        case diskFull
        /// A file's contents are not what was written. The message has the file, the offset and what to do.
        case damaged
        /// The system refused to read or write.
        case io
        /// Another process uses the directory.
        case locked
        /// The directory belongs to another cluster, member or configuration.
        case foreign
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
