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
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
