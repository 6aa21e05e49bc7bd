internal import Cluster

/// The durable state of one shard: a directory with a manifest, snapshots of slices, and a log of steps.
///
/// ```
/// lock                    the process that uses it
/// manifest.json           which of the files count
/// synced                  up to where the log is known to be on the disk
/// snapshots/*.safetensors slices, each piece as it was after some step
/// log/steps.*.log         inputs of the steps since
/// received/*.log          inputs of steps for slices that came from other shards
/// ```
///
/// One thread at a time uses the store; snapshot writers and readers, receipts and log cursors may be used by others.
/// The state of a slice is its source with all records of later steps replayed on it: first those of its side log,
/// if it has one, then those of the shard's log that name it.
public final class ShardStore: @unchecked Sendable {
    /// Whose state it is.
    public struct Identity: Sendable, Hashable, Codable {
        public var clusterID: String
        public var member: Int
        public var configurationHash: String
        public var layoutVersion: Int

        public init(clusterID: String, member: Int, configurationHash: String, layoutVersion: Int = 1) {
            self.clusterID = clusterID
            self.member = member
            self.configurationHash = configurationHash
            self.layoutVersion = layoutVersion
        }
    }

    /// When the log is synced: what a power cut may cost. The death of the process never costs anything.
    public enum SyncMode: String, Sendable, Hashable, CaseIterable {
        /// Before an append returns: nothing.
        case always
        /// Every interval, from a thread of its own: at most the steps of one interval.
        case interval
        /// Whenever the system likes: anything.
        case never
    }

    public let directory: String
    public let syncMode: SyncMode
    let lock: DirectoryLock
    var manifest: ShardManifest
    let log: StepLog
    var sideLogs: [String: StepLog] = [:]
    /// Receipts that were kept and may still grow, by the stem of their log.
    var receipts: [String: SliceReceipt] = [:]
    let syncer: LogSyncer
    private var nextFile = 0
    /// What is being written and not named yet.
    let live = LiveFiles()
    /// A manifest that may be the one on the disk, because writing it failed half-way; nil if `manifest` is.
    var unsettled: ShardManifest?
    /// How many files were found that nobody needed, and removed.
    public internal(set) var removedLeftovers = 0

    /// Opens or makes a shard's directory: takes its lock, reads the manifest, cuts off a torn end of the log, and
    /// removes what a crash left behind.
    ///
    /// - Parameter segmentByteLimit: length from which on the log goes on in another file.
    /// - Throws: `CenterStoreError`: `.locked` if another process uses it, `.damaged` if a file is not what was
    ///   written, `.io` if it cannot be read or written.
    public init(
        directory: String, sync: SyncMode, syncInterval: Duration = .seconds(1), segmentByteLimit: Int = 64 << 20
    ) throws(CenterStoreError) {
        self.directory = directory
        syncMode = sync
        try FileIO.makeDirectory(directory)
        lock = try DirectoryLock(directory)
        for folder in Folder.allCases { try FileIO.makeDirectory("\(directory)/\(folder.rawValue)") }
        let path = directory + "/manifest.json"
        let stored = try ChecksummedJSON.read(ShardManifest.self, from: path)
        if let stored, stored.formatVersion != ShardManifest.currentFormat {
            throw CenterStoreError(
                .damaged,
                "\(path) has format \(stored.formatVersion), this version knows \(ShardManifest.currentFormat)")
        }
        manifest = stored ?? ShardManifest()
        let mark = try SyncedMark(path: directory + "/synced")
        log = try StepLog(
            directory: "\(directory)/log", stem: "steps", firstSegment: manifest.firstSegment,
            segmentByteLimit: segmentByteLimit, synced: mark.position)
        if stored == nil, log.byteCount > 0 {
            throw CenterStoreError(
                .damaged,
                "\(path) is missing although there is a log: restore it from a backup, or remove the directory")
        }
        // From here on it is known what is on the disk, whatever the mode: a tail that was cut off must not lie before the mark.
        try log.sync()
        if mark.position != nil { try mark.set(log.end) } else { mark.raise(to: log.end) }
        syncer = LogSyncer(
            step: max(log.newestStep ?? manifest.step, manifest.step, manifest.snapshotStep), interval: syncInterval,
            mark: mark)
        for (stem, byteCount) in manifest.sideLogByteCounts {
            sideLogs[stem] = try StepLog(
                directory: "\(directory)/received", stem: stem, segmentByteLimit: .max,
                synced: byteCount.map { LogPosition(segment: 0, offset: $0) })
        }
        forgetMissingCopies()
        try checkFiles()
        try removeLeftovers()
        try FileIO.remove("\(directory)/manifest.json\(FileIO.temporarySuffix)")
        try FileIO.remove("\(directory)/going\(FileIO.temporarySuffix)")
        if sync == .interval { syncer.start() }
    }

    deinit { syncer.stop() }

    enum Folder: String, CaseIterable {
        case snapshots
        case log
        case received
    }

    func path(_ folder: Folder, _ name: String) -> String { "\(directory)/\(folder.rawValue)/\(name)" }

    // MARK: Manifest

    /// Whose state it is, nil if it is nobody's yet.
    public var identity: Identity? { manifest.identity }
    /// The slices owned here, ascending.
    public var owned: [OwnedSlice] { manifest.owned }
    /// Complete copies of slices that may become this shard's, ascending.
    public var received: [ReceivedSlice] { manifest.received }
    /// The version of the slice map that `owned` is of.
    public var mapVersion: Int { manifest.mapVersion }
    /// What the user of the store keeps in the manifest.
    public var extra: String { manifest.extra }

    /// Makes the directory that of `identity`. A member that owns nothing may change its number.
    ///
    /// - Throws: `CenterStoreError`, `.foreign` if it is another one's.
    public func adopt(_ identity: Identity) throws(CenterStoreError) {
        if manifest.identity == identity { return }
        if let stored = manifest.identity, !(manifest.owned.isEmpty && log.index.entries.isEmpty) {
            let what =
                if stored.clusterID != identity.clusterID {
                    "belongs to cluster \(stored.clusterID), not \(identity.clusterID)"
                } else if stored.member != identity.member {
                    "belongs to shard \(stored.member), not \(identity.member)"
                } else if stored.configurationHash != identity.configurationHash {
                    "is of configuration \(stored.configurationHash), not \(identity.configurationHash)"
                } else {
                    "has slices of layout \(stored.layoutVersion), not \(identity.layoutVersion)"
                }
            throw CenterStoreError(.foreign, "\(directory) \(what): name the right directory, or an empty one")
        }
        try change { $0.identity = identity }
    }

    /// Keeps `extra` in the manifest.
    public func setExtra(_ extra: String) throws(CenterStoreError) {
        if extra != manifest.extra { try change { $0.extra = extra } }
    }

    /// Writes the changed manifest, and removes the files that do not count any more.
    func change(_ body: (inout ShardManifest) -> Void) throws(CenterStoreError) {
        var changed = manifest
        body(&changed)
        guard changed.identity != nil else {
            throw CenterStoreError(.foreign, "\(directory) belongs to no cluster yet")
        }
        changed.owned.sort { $0.slice < $1.slice }
        changed.received.sort { $0.slice < $1.slice }
        changed.kept?.sort { $0.slice < $1.slice }
        do throws(CenterStoreError) { try ChecksummedJSON.write(changed, to: directory + "/manifest.json") } catch {
            // It may have been put in its place, and only that may be unsynced: until another is written either may be found.
            unsettled = changed
            live.expectSome()
            throw error
        }
        let old = manifest
        manifest = changed
        unsettled = nil
        // Whatever cannot be removed now is swept later.
        func remove(_ body: () throws(CenterStoreError) -> Void) {
            do throws(CenterStoreError) { try body() } catch { live.expectSome() }
        }
        for file in old.snapshotFiles.subtracting(changed.snapshotFiles) {
            remove { () throws(CenterStoreError) in try FileIO.remove(path(.snapshots, file)) }
        }
        for stem in old.sideLogs.subtracting(changed.sideLogs) {
            remove { () throws(CenterStoreError) in try sideLogs[stem]?.discard() }
            sideLogs[stem] = nil
            receipts.removeValue(forKey: stem)?.isClosed = true
        }
    }

    /// A name that no file has, for a slice.
    func newStem(_ slice: SliceName) -> String {
        defer { nextFile += 1 }
        return Self.stem(slice, nextFile)
    }

    private static func stem(_ slice: SliceName, _ number: Int) -> String {
        "\(slice.isDense ? "dense" : "slice")-\(slice.number).\(number)"
    }

    /// Checks that what the manifest names is there, and finds the next name that no file has.
    private func checkFiles() throws(CenterStoreError) {
        let files = manifest.snapshotFiles
        for file in files where !FileIO.exists(path(.snapshots, file)) {
            throw CenterStoreError(
                .damaged,
                "\(path(.snapshots, file)) is missing: restore it from a backup, or start this shard with an empty directory and restore a checkpoint"
            )
        }
        let used = files.map { $0.replacing(".safetensors", with: "") } + manifest.sideLogs
        nextFile = (used.compactMap { $0.split(separator: ".").last.flatMap { FileIO.number($0) } }.max() ?? -1) + 1
    }
}
