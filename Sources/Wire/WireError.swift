public import Cluster

/// What is wrong with a message or with the transport.
public struct WireError: Error, Sendable, Equatable, CustomStringConvertible {
    public var code: Code
    /// What was wrong, where, and what was expected.
    public var message: String
    /// The request number of the message that does not decode, when that much of it does; else 0.
    public var request: UInt64

    public enum Code: String, Sendable, CaseIterable {
        /// The header frame is not a message of the schema.
        case header
        /// Another number of frames than the header describes.
        case frameCount
        /// A frame's size is not what its type and shape say.
        case frameSize
        /// A tensor's type, shape, or the number of tensors is not what the message needs.
        case tensor
        /// A field is missing or outside its range.
        case field
        /// A text is too long or not UTF-8, or a name occurs twice.
        case text
        /// A limit on sizes or counts.
        case tooLarge
        /// No message that is known here.
        case unknownMessage
        /// A call to the operating system or to ZeroMQ failed.
        case system
        /// The endpoint was closed.
        case closed
        /// The deadline passed.
        case overdue
        /// The server has too much to do for others, or for the same peer.
        case busy
        /// The server refused.
        case refused
        /// Keys do not fit, or do not allow what was asked for.
        case forbidden
    }

    public init(_ code: Code, _ message: String, request: UInt64 = 0) {
        self.code = code
        self.message = message
        self.request = request
    }

    /// The code with which a server refuses a message that has this error.
    public var refusalCode: RefusalCode {
        switch code {
        case .tooLarge: .tooLarge
        case .busy: .busy
        case .unknownMessage: .unknownRequest
        case .forbidden: .forbidden
        case .header, .frameCount, .frameSize, .tensor, .field, .text: .malformed
        case .system, .closed, .overdue, .refused: .internalError
        }
    }

    public var description: String { "\(message) (\(code.rawValue))" }
}
