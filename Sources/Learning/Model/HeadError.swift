/// Why a step of the head was refused: a code to act on, and a message that says what was wrong and where.
public struct HeadError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// A configuration value is impossible.
        case configuration
        /// Centers could not be created, loaded or reached.
        case centers
        /// A tensor, count, node or id does not fit what was agreed.
        case malformed
        /// A label is not a class.
        case labelOutOfRange
        /// Features, normalizers, gradients or updated rows are infinite or not a number.
        case notFinite
        /// The call does not belong in this phase of the step.
        case phase
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
