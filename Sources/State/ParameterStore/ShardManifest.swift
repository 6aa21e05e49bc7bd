public import Cluster

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
    /// Second copies of others' slices; nil in directories of earlier versions.
    var kept: [KeptSlice]?
    /// Segments of the log before this one do not count.
    var firstSegment = 0

    /// The step that everything owned is of without any log; -1 if the snapshots are of different steps, or there are none.
    var snapshotStep: Int {
        guard let first = owned.first?.source.maxStep,
            owned.allSatisfy({ $0.sideLog == nil && $0.source.minStep == first && $0.source.maxStep == first })
        else { return -1 }
        return first
    }

    /// Names of the files in `snapshots` that are referred to.
    var snapshotFiles: Set<String> {
        Set(
            owned.compactMap { $0.source.snapshot?.file } + received.map(\.snapshot.file)
                + (kept ?? []).map(\.snapshot.file))
    }

    /// Stems of the logs in `received` that are referred to.
    var sideLogs: Set<String> { Set(sideLogByteCounts.keys) }

    /// The same, with the length that was synced when the copy was kept; nil if that is not known.
    var sideLogByteCounts: [String: Int?] {
        var counts: [String: Int?] = [:]
        for entry in owned { if let stem = entry.sideLog { counts.updateValue(entry.sideLogByteCount, forKey: stem) } }
        for entry in received { counts.updateValue(entry.sideLogByteCount, forKey: entry.sideLog) }
        return counts
    }
}

/// A slice that the shard owns, and what its state is computed from.
public struct OwnedSlice: Sendable, Hashable, Codable {
    public var slice: SliceName
    public var source: SliceSource
    /// Set for a slice that came from another shard: records to replay before those of the shard's own log.
    public var sideLog: String?
    /// Length of the side log that is known to be on the disk; nil in directories of earlier versions.
    var sideLogByteCount: Int?

    init(slice: SliceName, source: SliceSource, sideLog: String? = nil, sideLogByteCount: Int? = nil) {
        (self.slice, self.source, self.sideLog) = (slice, source, sideLog)
        self.sideLogByteCount = sideLogByteCount
    }
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
    /// As of an owned slice.
    var sideLogByteCount: Int?
    /// Snapshot and records together are the slice after this step.
    public var step: Int
}
