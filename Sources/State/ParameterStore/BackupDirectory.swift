internal import Cluster

/// A directory with copies of a run's checkpoints: each a whole checkpoint, with files that have not changed in common.
///
/// One process at a time writes there. Whatever ends it, copies that were complete are, and an unfinished one is continued or removed by
/// the next process.
public final class BackupDirectory {
    public let directory: String
    private let lock: DirectoryLock
    /// The complete copies, oldest first.
    public private(set) var backups: [CheckpointReader] = []
    /// Folders that should be copies and cannot be read.
    public private(set) var problems: [String] = []

    /// Opens or makes the directory.
    ///
    /// - Throws: `CenterStoreError`: `.locked` while another process uses it, `.io` if it cannot be used.
    public init(_ directory: String) throws(CenterStoreError) {
        self.directory = directory
        try FileIO.makeDirectory(directory)
        lock = try DirectoryLock(directory, advice: "another backup is under way there: wait until it has ended")
        try list()
    }

    /// The complete checkpoints of a run in `parent`, oldest first: not those that are being written, nor those that the cluster went
    /// back behind. Of those that cannot be read, the reason.
    ///
    /// - Throws: `CenterStoreError` if `parent` cannot be listed.
    public static func checkpoints(
        in parent: String
    ) throws(CenterStoreError) -> (checkpoints: [CheckpointReader], problems: [String]) {
        let (found, problems) = try CheckpointReader.list(in: parent)
        let counting = found.filter {
            let name = $0.directory.split(separator: "/").last ?? ""
            return !name.hasSuffix(FileIO.temporarySuffix) && !name.contains(CheckpointReader.abandonedSuffix)
        }
        return (counting.sorted { $0.age < $1.age }, problems)
    }

    private func list() throws(CenterStoreError) {
        (backups, problems) = try Self.checkpoints(in: directory)
    }

    /// Which of these are to be copied, newest first: those that are not here yet, and that would not be removed at once.
    ///
    /// - Parameter limit: how many copies are kept; nil: all.
    public func missing(of checkpoints: [CheckpointReader], keeping limit: Int?) -> [CheckpointReader] {
        let new = checkpoints.filter { place(of: $0).backup == nil }
        let kept = (backups + new).sorted { $0.age < $1.age }.suffix(limit ?? .max).map(\.directory)
        return new.filter { kept.contains($0.directory) }.sorted { $1.age < $0.age }
    }

    /// Removes what is left of copies that were never completed, and of those whose removal was interrupted.
    ///
    /// - Parameter continued: checkpoints that are copied next.
    /// - Throws: `CenterStoreError` if it cannot be removed.
    public func clean(continuing continued: [CheckpointReader] = []) throws(CenterStoreError) {
        let used = Set(continued.map { CheckpointCopy($0, to: place(of: $0).directory).unfinished })
        for name in try FileIO.names(in: directory) where name.hasPrefix(CheckpointName.prefix) {
            let path = "\(directory)/\(name)"
            guard FileIO.isDirectory(path), !used.contains(path) else { continue }
            let isComplete = FileIO.exists("\(path)/\(CheckpointManifest.fileName)")
            if !isComplete || name.hasSuffix(FileIO.temporarySuffix) { try CheckpointReader.delete(path) }
        }
    }

    /// Copies a checkpoint; nothing happens if it is here.
    ///
    /// - Returns: where it is, and what was done.
    /// - Throws: `CenterStoreError`: `.foreign` if it is of another run than those that are here, or what `CheckpointCopy.write` throws.
    public func add(
        _ checkpoint: CheckpointReader
    ) throws(CenterStoreError) -> (directory: String, figures: CheckpointCopy.Figures) {
        if let other = backups.first(where: { $0.manifest.fingerprint != checkpoint.manifest.fingerprint }) {
            throw CenterStoreError(
                .foreign,
                "\(checkpoint.directory) is of the configuration \(checkpoint.manifest.fingerprint), and \(other.directory) of "
                    + "\(other.manifest.fingerprint): backups of another run need a directory of their own")
        }
        let (place, backup) = place(of: checkpoint)
        if let backup { return (backup.directory, CheckpointCopy.Figures()) }
        let figures = try CheckpointCopy(checkpoint, to: place, sharing: backups).write()
        try list()
        return (place, figures)
    }

    /// Removes the oldest copies but for so many.
    ///
    /// - Returns: what was removed.
    /// - Throws: `CenterStoreError` if one cannot be removed.
    public func keep(_ limit: Int) throws(CenterStoreError) -> [String] {
        let removed = backups.dropLast(limit).map(\.directory)
        for path in removed { try CheckpointReader.delete(path) }
        try FileIO.syncDirectory(directory)
        try list()
        return removed
    }

    /// Where the copy of a checkpoint is, or is to be.
    private func place(of checkpoint: CheckpointReader) -> (directory: String, backup: CheckpointReader?) {
        let name = "\(directory)/\(checkpoint.name)"
        if let backup = backups.first(where: { $0.isCopy(of: checkpoint) }) { return (backup.directory, backup) }
        // Of another past of the run, with the same number of steps.
        var (place, number) = (name, 1)
        while FileIO.exists(place) {
            number += 1
            place = "\(name)-\(number)"
        }
        return (place, nil)
    }
}

extension CheckpointReader {
    /// What the directory of a checkpoint of this step is called: after the steps that are done.
    public var name: String { CheckpointName.after(manifest.step) }

    /// Whether its manifest is still there: another process may have removed the checkpoint.
    public var isThere: Bool { FileIO.exists("\(directory)/\(CheckpointManifest.fileName)") }

    /// Whether both are the same checkpoint, apart from where they are.
    public func isCopy(of other: CheckpointReader) -> Bool { manifest.asWritten == other.manifest.asWritten }

    /// By what the older one comes first.
    var age: Age { Age(created: manifest.created, step: manifest.step, directory: directory) }

    struct Age: Comparable {
        var created: String
        var step: Int
        var directory: String

        static func < (one: Age, other: Age) -> Bool {
            (one.created, one.step, one.directory) < (other.created, other.step, other.directory)
        }
    }
}

extension CheckpointManifest {
    /// As it was before a copy noted hashes in it.
    fileprivate var asWritten: CheckpointManifest {
        var manifest = self
        manifest.jobFiles = manifest.jobFiles?.map { JobFile(name: $0.name, bytes: $0.bytes) }
        return manifest
    }
}
