/// A complete snapshot file in a shard's directory.
public struct SnapshotReference: Sendable, Hashable, Codable {
    /// Its name in the folder `snapshots`.
    public var file: String
    public var shape: SliceShape
    /// Number of class operations that its rows have seen.
    public var classVersion: Int
    /// The steps that its oldest and its newest piece are of. -1: before the first step. A slice without rows has the
    /// step that its writer was given.
    public var minStep: Int
    public var maxStep: Int
    /// Length of the file.
    public var byteCount: Int
}
