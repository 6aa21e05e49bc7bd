/// A connection as a server sees it: the ZeroMQ routing id. Good for answers, not for knowing who it is.
public struct PeerID: Hashable, Sendable, CustomStringConvertible {
    public let bytes: [UInt8]

    /// The connection with a routing id of 1 to 255 bytes.
    public init(bytes: [UInt8]) { self.bytes = bytes }

    public var description: String {
        bytes.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }
}
