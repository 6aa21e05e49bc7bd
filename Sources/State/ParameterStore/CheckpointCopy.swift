internal import Cluster

/// A checkpoint that is copied to another place: written beside it, checked while it is read, and complete or not there.
///
/// A file whose contents another checkpoint of that place has is not copied: it gets a second name there, after its hash was checked.
public struct CheckpointCopy: Sendable {
    let source: CheckpointReader
    /// What the copy is called when it is complete.
    let directory: String
    /// Files that have their contents already, by these.
    private let known: [Content: [String]]

    /// What was done, and what was found on the way.
    public struct Figures: Sendable, Hashable {
        public var copiedFiles = 0
        public var copiedBytes = 0
        /// Files that were there already, in another checkpoint or from a copy that was not completed.
        public var sharedFiles = 0
        public var sharedBytes = 0
        /// Damaged files of earlier copies, which were not used.
        public var problems: [String] = []

        public init() {}
    }

    private struct Content: Hashable {
        var slice: SliceName
        var bytes: Int
        var hash: String

        init(_ file: CheckpointManifest.File) { (slice, bytes, hash) = (file.slice, file.bytes, file.hash) }
    }

    /// - Parameter earlier: checkpoints on the same file system as `directory`, whose files may be shared.
    public init(_ source: CheckpointReader, to directory: String, sharing earlier: [CheckpointReader] = []) {
        (self.source, self.directory) = (source, directory)
        var known: [Content: [String]] = [:]
        for reader in earlier {
            for file in reader.manifest.files {
                known[Content(file), default: []].append("\(reader.directory)/\(file.path)")
            }
        }
        self.known = known
    }

    /// Where it is written.
    public var unfinished: String { directory + FileIO.temporarySuffix }

    /// Writes the copy. What a copy that was interrupted has left is used.
    ///
    /// - Throws: `CenterStoreError`: `.damaged` if a file of the source is not what was written, `.diskFull` or `.io`. What was copied
    ///   stays in `unfinished`, for the next time, unless the source is damaged or gone.
    public func write() throws(CenterStoreError) -> Figures {
        do throws(CenterStoreError) { return try writeAll() } catch {
            if error.code == .damaged || !source.isThere { try? CheckpointReader.delete(unfinished) }
            throw error
        }
    }

    private func writeAll() throws(CenterStoreError) -> Figures {
        var figures = Figures()
        var manifest = source.manifest
        try FileIO.makeDirectory(unfinished)
        try removeTemporaryFiles()
        for entry in manifest.files { try take(entry, &figures) }
        try copyJobFiles(of: &manifest, &figures)
        for folder in ["slices", "dense", CheckpointManifest.jobFolder]
        where FileIO.isDirectory("\(unfinished)/\(folder)") { try FileIO.syncDirectory("\(unfinished)/\(folder)") }
        try manifest.write(to: unfinished)
        try CheckpointReader.publish(unfinished, as: directory)
        return figures
    }

    /// Removes files in whose middle a copy was interrupted.
    private func removeTemporaryFiles() throws(CenterStoreError) {
        for folder in ["slices", "dense"] where FileIO.isDirectory("\(unfinished)/\(folder)") {
            for name in try FileIO.names(in: "\(unfinished)/\(folder)") where name.hasSuffix(FileIO.temporarySuffix) {
                try FileIO.remove("\(unfinished)/\(folder)/\(name)")
            }
        }
    }

    /// Makes the file of a slice appear in `unfinished`.
    private func take(_ entry: CheckpointManifest.File, _ figures: inout Figures) throws(CenterStoreError) {
        let target = "\(unfinished)/\(entry.path)"
        try FileIO.makeDirectory(FileIO.directory(of: target))
        var isThere = false
        if FileIO.exists(target) {
            isThere = (try? CheckpointFile.verify(target, entry)) != nil
            if !isThere { try FileIO.remove(target) }
        }
        for other in known[Content(entry)] ?? [] where !isThere {
            do throws(CenterStoreError) { try CheckpointFile.verify(other, entry) } catch {
                figures.problems.append(error.message)
                continue
            }
            isThere = try FileIO.link(other, as: target)
            // Whoever cannot link one file links none.
            if !isThere { break }
        }
        if isThere {
            (figures.sharedFiles, figures.sharedBytes) = (figures.sharedFiles + 1, figures.sharedBytes + entry.bytes)
        } else {
            try CheckpointFile.copy("\(source.directory)/\(entry.path)", entry, to: target)
            (figures.copiedFiles, figures.copiedBytes) = (figures.copiedFiles + 1, figures.copiedBytes + entry.bytes)
        }
    }

    /// What a job keeps is copied anew each time, and its hashes are noted.
    private func copyJobFiles(
        of manifest: inout CheckpointManifest, _ figures: inout Figures
    ) throws(CenterStoreError) {
        try CheckpointReader.deleteJobFiles(of: unfinished)
        guard let files = manifest.jobFiles else { return }
        try CheckpointReader.checkFiles(files, in: source.directory)
        var copied: [CheckpointManifest.JobFile] = []
        for file in files {
            var file = file
            file.hash = try CheckpointJobFile.copy(file, from: source.directory, to: unfinished)
            copied.append(file)
            figures.copiedFiles += 1
            figures.copiedBytes += file.bytes
        }
        manifest.jobFiles = copied
    }
}
