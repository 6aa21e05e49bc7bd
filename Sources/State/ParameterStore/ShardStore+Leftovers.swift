/// What is left behind: one rule for all of it. What no manifest names and nobody is writing is removed.
extension ShardStore {
    /// Whether something may have been left behind since the last `sweep`.
    public var hasLeftovers: Bool { live.hasReleased }

    /// Removes files of snapshots, copies and logs that no manifest names and nobody is writing: rounds that were given up, moves that
    /// were called off, restores that had no room. What cannot be removed now is tried again.
    ///
    /// To be called when nothing is on its way from a finished writer into the manifest.
    /// - Returns: how many files were removed.
    @discardableResult
    public func sweep() -> Int {
        live.expectNone()
        let before = removedLeftovers
        do throws(CenterStoreError) { try removeLeftovers() } catch { live.expectSome() }
        return removedLeftovers - before
    }

    func removeLeftovers() throws(CenterStoreError) {
        // A manifest that may have reached the disk although writing it failed counts too.
        let (files, stems) = (
            manifest.snapshotFiles.union(unsettled?.snapshotFiles ?? []),
            manifest.sideLogs.union(unsettled?.sideLogs ?? [])
        )
        let live = live.stems
        for name in try FileIO.names(in: "\(directory)/snapshots")
        where name.hasSuffix(".safetensors") || name.hasSuffix(FileIO.temporarySuffix) {
            let stem = name.firstRange(of: ".safetensors").map { String(name[..<$0.lowerBound]) } ?? name
            if !files.contains(name), !live.contains(stem) { try removeLeftover(path(.snapshots, name)) }
        }
        for name in try FileIO.names(in: "\(directory)/received")
        where name.hasSuffix(".log") || name.hasSuffix(FileIO.temporarySuffix) {
            let log = name.replacing(FileIO.temporarySuffix, with: "")
            let isNamed = stems.union(live).contains { StepLog.number(of: log, stem: $0) != nil }
            if !isNamed || name.hasSuffix(FileIO.temporarySuffix) { try removeLeftover(path(.received, name)) }
        }
        let first = min(manifest.firstSegment, unsettled?.firstSegment ?? .max)
        for name in try FileIO.names(in: "\(directory)/log") {
            let isOld = StepLog.number(of: name, stem: "steps").map { $0 < first } ?? false
            if isOld || name.hasSuffix(FileIO.temporarySuffix) { try removeLeftover(path(.log, name)) }
        }
    }

    private func removeLeftover(_ path: String) throws(CenterStoreError) {
        try FileIO.remove(path)
        removedLeftovers += 1
    }
}
