public import StepProtocol

/// What `manifest.json` of a shard's directory says: which files count.
struct ShardManifest: Codable {
    static let currentFormat = 1

    var formatVersion = Self.currentFormat
    var identity: ShardStore.Identity?
    var mapVersion = 0
    /// Everything owned was complete up to this step when the slices last changed.
    var step = -1
    var extra = ""
    var owned: [OwnedSlice] = []
    var received: [ReceivedSlice] = []
    /// Segments of the log before this one do not count.
    var firstSegment = 0

    /// Names of the files in `snapshots` that are referred to.
    var snapshotFiles: Set<String> {
        Set(owned.compactMap { $0.source.snapshot?.file } + received.map(\.snapshot.file))
    }

    /// Stems of the logs in `received` that are referred to.
    var sideLogs: Set<String> { Set(owned.compactMap(\.sideLog) + received.map(\.sideLog)) }
}

/// A slice that the shard owns, and what its state is computed from.
public struct OwnedSlice: Sendable, Hashable, Codable {
    public var slice: SliceName
    public var source: SliceSource
    /// Set for a slice that came from another shard: records to replay before those of the shard's own log.
    public var sideLog: String?
}

/// What the replay of a log begins with.
public enum SliceSource: Sendable, Hashable, Codable {
    /// The initial values, a function of the configuration: before step 0.
    case initial
    case snapshot(SnapshotReference)

    public var snapshot: SnapshotReference? { if case .snapshot(let reference) = self { reference } else { nil } }
    /// The oldest and the newest step that parts of it are of.
    public var minStep: Int { snapshot?.minStep ?? -1 }
    public var maxStep: Int { snapshot?.maxStep ?? -1 }
}

/// A complete, durable copy of a slice that is still another shard's.
public struct ReceivedSlice: Sendable, Hashable, Codable {
    public var slice: SliceName
    public var snapshot: SnapshotReference
    public var sideLog: String
    /// Snapshot and records together are the slice after this step.
    public var step: Int
}
