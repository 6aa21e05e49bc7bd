import ArgumentParser
import Foundation
import ParameterStore
import ProcessSupport

/// `coordinator backup`.
struct Backup: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy a run's checkpoints to another disk, checked, without what is there already.",
        discussion: """
            Copies the checkpoints that DIR does not have yet, the newest first, and compares every hash while copying. Files that \
            an earlier backup has are checked and shared with it (hard links). Each backup is a whole checkpoint: `coordinator verify`, \
            `export --checkpoint` and `serve --resume` take it as it is. Interrupted at any point, the earlier backups are whole, and the \
            next call goes on. Needs no running cluster. Exits with 1 if a checkpoint could not be copied or a backup is damaged, 75 if \
            the disk is full or another backup is under way.
            """)
    @Argument(
        help: "A checkpoint, a directory with checkpoints, or a run's output with a directory `checkpoints`.",
        completion: .directory)
    var source: String
    @Argument(help: "The directory with the backups of this run; made if it is missing.", completion: .directory)
    var directory: String
    @Option(help: "Remove the oldest backups but for so many.") var keep: Int?
    @Flag(help: "Print JSON.") var json = false

    /// The JSON that it prints.
    private struct Answer: Encodable {
        /// A backup that was made.
        struct Made: Encodable {
            var directory: String
            var checkpoint: String
            var step: Int
            var copiedFiles: Int
            var copiedBytes: Int
            var sharedFiles: Int
            var sharedBytes: Int
        }
        var made: [Made] = []
        var removed: [String] = []
        /// How many there are now.
        var backups = 0
        var problems: [String] = []
    }

    func validate() throws {
        if let keep, keep < 1 { throw ValidationError("--keep \(keep) would leave no backup: it is at least 1") }
    }

    func run() throws {
        try offline {
            var answer = Answer()
            let (checkpoints, unreadable) = try CheckpointPlaces.find(source)
            let target = URL(fileURLWithPath: directory).standardizedFileURL.path
            if let same = checkpoints.first(where: { $0.directory == target || target.hasPrefix($0.directory + "/") }) {
                throw OfflineError(
                    "\(target) is the checkpoint \(same.directory) or in it: name a directory for backups")
            }
            if let near = checkpoints.first, CheckpointPlaces.isOnOneDisk(near.directory, target) {
                complain("\(target) is on the same disk as \(near.directory): if that is lost, both are")
            }
            let backups = try BackupDirectory(target)
            answer.problems = unreadable + backups.problems
            let missing = backups.missing(of: checkpoints, keeping: keep)
            try backups.clean(continuing: missing)
            for checkpoint in missing { try copy(checkpoint, to: backups, &answer) }
            if let keep { answer.removed = try backups.keep(keep) }
            answer.backups = backups.backups.count
            for problem in answer.problems { complain(problem) }
            if json {
                try StatusJSON.print(answer)
            } else {
                for path in answer.removed { print("removed \(path)") }
                print("\(answer.made.count) new, \(answer.backups) backups in \(target)")
            }
            if !answer.problems.isEmpty { throw ExitCode(1) }
        }
    }

    /// Copies one. A checkpoint that is damaged, or that the run removes meanwhile, does not keep the others from being copied.
    private func copy(_ checkpoint: CheckpointReader, to backups: BackupDirectory, _ answer: inout Answer) throws {
        do throws(CenterStoreError) {
            let (place, figures) = try backups.add(checkpoint)
            answer.problems += figures.problems
            answer.made.append(
                .init(
                    directory: place, checkpoint: checkpoint.directory, step: checkpoint.manifest.step,
                    copiedFiles: figures.copiedFiles, copiedBytes: figures.copiedBytes,
                    sharedFiles: figures.sharedFiles, sharedBytes: figures.sharedBytes))
            if json { return }
            print(
                "step \(checkpoint.manifest.step): \(place), \(figures.copiedFiles) files copied (\(Units.bytes(figures.copiedBytes))), "
                    + "\(figures.sharedFiles) shared (\(Units.bytes(figures.sharedBytes)))")
        } catch {
            guard error.code == .damaged || !checkpoint.isThere else { throw error }
            answer.problems.append(
                checkpoint.isThere
                    ? "no backup of step \(checkpoint.manifest.step): \(error.message)"
                    : "no backup of step \(checkpoint.manifest.step): \(checkpoint.directory) was removed while it was copied"
            )
        }
    }
}

/// `coordinator restore-backup`.
struct RestoreBackup: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy a backup back to where shards read checkpoints, and compare every hash.",
        discussion: """
            Then `coordinator restore PATH` lets a running cluster go back to it, and `coordinator serve --resume PATH` begins a new one. \
            Needs no running cluster. A checkpoint that is at that place already and is another one is moved aside (.abandoned).
            """)
    @Argument(help: "A backup, or the directory with backups: the newest of them.", completion: .directory)
    var backup: String
    @Argument(
        help: "The directory with the run's checkpoints (checkpoint.directory), which every shard reaches.",
        completion: .directory)
    var directory: String
    @Flag(help: "Print JSON.") var json = false

    /// The JSON that it prints.
    private struct Answer: Encodable {
        var directory: String
        var step: Int
        var files: Int
        var bytes: Int
    }

    func run() throws {
        try offline {
            let (backups, problems) = try CheckpointPlaces.find(backup)
            for problem in problems { complain(problem) }
            guard let newest = backups.last else { throw OfflineError("\(backup) has no backup") }
            let target = URL(fileURLWithPath: directory).standardizedFileURL.path
            let place = "\(target)/\(newest.name)"
            guard place != newest.directory else { throw OfflineError("\(place) is the backup itself") }
            if let there = try? CheckpointReader(directory: place), newest.isCopy(of: there), there.verify().isEmpty {
                if !json { print("it is there already, whole") }
            } else {
                _ = try CheckpointCopy(newest, to: place).write()
            }
            let files = newest.manifest.files
            let answer = Answer(
                directory: place, step: newest.manifest.step, files: files.count,
                bytes: files.reduce(0) { $0 + $1.bytes })
            if json {
                try StatusJSON.print(answer)
            } else {
                print("step \(answer.step): \(answer.directory), \(answer.files) files, \(Units.bytes(answer.bytes))")
            }
        }
    }
}

/// Where a command finds checkpoints.
enum CheckpointPlaces {
    /// The checkpoints that `path` names, oldest first: one, or those in it. Of those that cannot be read, the reason.
    ///
    /// - Throws: `OfflineError` if there are none, `CenterStoreError` if a directory cannot be read.
    static func find(_ path: String) throws -> (checkpoints: [CheckpointReader], problems: [String]) {
        let path = URL(fileURLWithPath: path).standardizedFileURL.path
        let manager = FileManager.default
        if manager.fileExists(atPath: "\(path)/manifest.json") { return ([try CheckpointReader(directory: path)], []) }
        for place in [path, "\(path)/checkpoints"] {
            let found = try BackupDirectory.checkpoints(in: place)
            if !(found.checkpoints.isEmpty && found.problems.isEmpty) { return found }
        }
        throw OfflineError(
            manager.fileExists(atPath: path)
                ? "\(path) has no complete checkpoint, nor has \(path)/checkpoints: name a run's checkpoint.directory"
                : "\(path) is not there")
    }

    /// Whether both are on the same file system; false if the system does not say.
    static func isOnOneDisk(_ one: String, _ other: String) -> Bool {
        func device(_ path: String) -> Int? {
            var url = URL(fileURLWithPath: path)
            while !FileManager.default.fileExists(atPath: url.path), url.path != "/" { url.deleteLastPathComponent() }
            let attributes = try? FileManager.default.attributesOfItem(atPath: url.path)
            return (attributes?[.systemNumber] as? NSNumber)?.intValue
        }
        guard let one = device(one), let other = device(other) else { return false }
        return one == other
    }
}
