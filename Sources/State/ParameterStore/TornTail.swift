/// The end of a log that a crash left unfinished, and that was cut off.
public struct TornTail: Sendable, Hashable, CustomStringConvertible {
    public var path: String
    /// Where the unfinished record began.
    public var offset: Int
    /// What was cut off, with the files after this one.
    public var byteCount: Int
    /// Whether a part of it had been synced, so that the disk has lost what it had promised to keep.
    public var wasSynced = false

    public var description: String {
        wasSynced
            ? "\(path): the end from offset \(offset) on is missing, although it was synced: the disk or its file system has lost it"
            : "\(path): the last \(byteCount) bytes, from offset \(offset) on, were an unfinished write"
    }
}
