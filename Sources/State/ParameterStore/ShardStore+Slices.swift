public import Cluster

/// Snapshots, and slices that come and go.
extension ShardStore {
    /// Begins a snapshot of a slice; it counts once it is installed.
    ///
    /// - Parameter classVersion: the number of class operations that the rows have seen.
    /// - Throws: `CenterStoreError` if the shape is impossible or the file cannot be made.
    public func beginSnapshot(
        _ slice: SliceName, shape: SliceShape, classVersion: Int = 0
    ) throws(CenterStoreError) -> SnapshotWriter {
        try SnapshotWriter(
            slice, shape, classVersion: classVersion, directory: "\(directory)/snapshots",
            lease: LiveFiles.Lease(newStem(slice), live))
    }

    /// Opens a snapshot to read.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if the file is not what was written.
    public func openSnapshot(
        _ reference: SnapshotReference, of slice: SliceName
    ) throws(CenterStoreError) -> SnapshotReader {
        try SnapshotReader(slice, reference, path: path(.snapshots, reference.file))
    }

    /// Makes these snapshots the sources of their slices, all at once, and removes those they replace. Snapshots of
    /// slices that are not owned any more are removed.
    ///
    /// - Throws: `CenterStoreError`; nothing has changed then.
    public func install(
        _ snapshots: [SliceName: SnapshotReference], extra: String? = nil
    ) throws(CenterStoreError) {
        // The log must not end before what it is replayed on, and what it replaces is removed: whatever the mode.
        try sync()
        try change { manifest in
            if let extra { manifest.extra = extra }
            for index in manifest.owned.indices {
                guard let snapshot = snapshots[manifest.owned[index].slice] else { continue }
                manifest.owned[index].source = .snapshot(snapshot)
                manifest.owned[index].sideLog = nil
                manifest.owned[index].sideLogByteCount = nil
            }
        }
        for snapshot in snapshots.values where !manifest.snapshotFiles.contains(snapshot.file) {
            try FileIO.remove(path(.snapshots, snapshot.file))
        }
    }

    /// Makes `sources` all that is owned, complete at `step`, all at once, and forgets everything else: other slices,
    /// copies, the log. For a return to a checkpoint or to the beginning.
    ///
    /// - Throws: `CenterStoreError`; nothing has changed then.
    public func replaceAll(
        with sources: [SliceName: SliceSource], step: Int, mapVersion: Int, extra: String? = nil
    ) throws(CenterStoreError) {
        let segment = log.nextSegment
        try change { manifest in
            if let extra { manifest.extra = extra }
            manifest.owned = sources.map { OwnedSlice(slice: $0.key, source: $0.value) }
            manifest.received = []
            manifest.kept = nil
            manifest.mapVersion = mapVersion
            manifest.step = step
            manifest.firstSegment = segment
        }
        try log.drop(segmentsBefore: segment)
        syncer.reset(to: newestStep, end: log.end)
    }

    /// Changes what is owned, all at once: some slices are taken from kept receipts, some begin with their initial
    /// values, some are made from second copies that are kept here, some are given up.
    ///
    /// - Parameter step: the last step that is complete; owned slices are as of it.
    /// - Throws: `CenterStoreError`, `.notHeld` if there is no kept copy of an adopted slice. Nothing has changed then.
    public func own(
        adopting adopted: [SliceName] = [], starting started: [SliceName] = [], promoting promoted: [SliceName] = [],
        dropping dropped: [SliceName] = [], mapVersion: Int, step: Int, extra: String? = nil
    ) throws(CenterStoreError) {
        let copied = kept.filter { promoted.contains($0.slice) }
        guard copied.count == promoted.count else {
            throw CenterStoreError(
                .notHeld, "\(directory): \(promoted) are to be owned, and copies are kept of \(copied.map(\.slice))")
        }
        var copies: [ReceivedSlice] = []
        for slice in adopted {
            guard let copy = received.first(where: { $0.slice == slice }) else {
                throw CenterStoreError(.notHeld, "\(directory): there is no complete copy of \(slice) to own")
            }
            copies.append(copy)
        }
        let replaced = Set(adopted + started + promoted + dropped)
        try change { manifest in
            if let extra { manifest.extra = extra }
            manifest.mapVersion = mapVersion
            manifest.step = max(manifest.step, step)
            manifest.owned.removeAll { replaced.contains($0.slice) }
            manifest.received.removeAll { replaced.contains($0.slice) }
            manifest.kept?.removeAll { replaced.contains($0.slice) }
            manifest.owned += copied.map { OwnedSlice(slice: $0.slice, source: .snapshot($0.snapshot)) }
            manifest.owned += started.map { OwnedSlice(slice: $0, source: .initial) }
            manifest.owned += copies.map {
                OwnedSlice(
                    slice: $0.slice, source: .snapshot($0.snapshot), sideLog: $0.sideLog,
                    sideLogByteCount: $0.sideLogByteCount)
            }
        }
        for copy in copies { receipts.removeValue(forKey: copy.sideLog)?.isClosed = true }
        if log.newestStep ?? -1 < step { syncer.advance(to: newestStep) }
    }

    /// Begins to receive a slice.
    ///
    /// - Parameter classVersion: the number of class operations that the rows have seen.
    /// - Throws: `CenterStoreError` if the shape is impossible or the files cannot be made.
    public func beginReceiving(
        _ slice: SliceName, shape: SliceShape, classVersion: Int = 0
    ) throws(CenterStoreError) -> SliceReceipt {
        let lease = LiveFiles.Lease(newStem(slice), live)
        return SliceReceipt(
            writer: try beginSnapshot(slice, shape: shape, classVersion: classVersion),
            log: try StepLog(
                directory: "\(directory)/received", stem: lease.stem, segmentByteLimit: .max),
            lease: lease)
    }

    /// Syncs copies and keeps them, so that they outlive a restart: together with their records they are their slices
    /// after `step`. More records may follow, and be kept by another call. A copy that was kept of the same slice
    /// before is removed.
    ///
    /// - Throws: `CenterStoreError`; the call may be repeated.
    public func keep(_ receipts: [SliceReceipt], step: Int) throws(CenterStoreError) {
        var entries: [ReceivedSlice] = []
        for receipt in receipts {
            let snapshot = try receipt.sync(emptyStep: step)
            entries.append(
                ReceivedSlice(
                    slice: receipt.slice, snapshot: snapshot, sideLog: receipt.log.stem,
                    sideLogByteCount: receipt.log.byteCount, step: step))
        }
        let replaced = Set(entries.map(\.slice))
        try change { manifest in
            manifest.received.removeAll { replaced.contains($0.slice) }
            manifest.received += entries
        }
        for receipt in receipts {
            receipt.isKept = true
            sideLogs[receipt.log.stem] = receipt.log
            self.receipts[receipt.log.stem] = receipt
        }
    }

    /// Removes kept copies of slices that are not on their way any more.
    public func forgetReceived(_ slices: [SliceName]) throws(CenterStoreError) {
        guard received.contains(where: { slices.contains($0.slice) }) else { return }
        try change { manifest in manifest.received.removeAll { slices.contains($0.slice) } }
    }
}
