/// Snapshots that were finished and are not wanted.
extension ShardStore {
    /// Removes a finished snapshot that does not count, because it was not installed.
    ///
    /// - Throws: `CenterStoreError` if the file cannot be removed, or counts.
    public func discard(_ snapshot: SnapshotReference) throws(CenterStoreError) {
        guard !manifest.snapshotFiles.contains(snapshot.file) else {
            throw CenterStoreError(.io, "\(directory): the snapshot \(snapshot.file) is in use")
        }
        try FileIO.remove(path(.snapshots, snapshot.file))
    }
}
