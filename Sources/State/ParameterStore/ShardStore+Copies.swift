public import Cluster

/// Second copies of slices that are other shards'.
extension ShardStore {
    /// Those that count, ascending.
    public var kept: [KeptSlice] { manifest.kept ?? [] }

    /// Makes a snapshot the copy of a slice that counts, and removes one that it replaces.
    ///
    /// - Throws: `CenterStoreError`; nothing has changed then.
    public func keepCopy(_ snapshot: SnapshotReference, of slice: SliceName) throws(CenterStoreError) {
        // The log must not end before what it is replayed on.
        try sync()
        try change { manifest in
            manifest.kept =
                (manifest.kept ?? []).filter { $0.slice != slice }
                + [KeptSlice(slice: slice, snapshot: snapshot)]
        }
    }

    /// Removes copies.
    ///
    /// - Throws: `CenterStoreError`; nothing has changed then.
    public func forgetKept(_ slices: Set<SliceName>) throws(CenterStoreError) {
        guard kept.contains(where: { slices.contains($0.slice) }) else { return }
        try change { manifest in manifest.kept = manifest.kept?.filter { !slices.contains($0.slice) } }
    }

    /// A copy whose file is gone is none. Nothing else is lost with it.
    func forgetMissingCopies() {
        manifest.kept = manifest.kept?.filter { FileIO.exists(path(.snapshots, $0.snapshot.file)) }
    }
}

/// A second copy of a slice that another shard owns: with the shard's own log it is the slice after any later step.
public struct KeptSlice: Sendable, Hashable, Codable {
    public var slice: SliceName
    public var snapshot: SnapshotReference
}
