/// The end of a log that a crash left unfinished, and that was cut off.
public struct TornTail: Sendable, Hashable, CustomStringConvertible {
    public var path: String
    /// Where the unfinished record began.
    public var offset: Int
    public var byteCount: Int

    public var description: String {
        "\(path): the last \(byteCount) bytes, from offset \(offset) on, were an unfinished write"
    }
}
