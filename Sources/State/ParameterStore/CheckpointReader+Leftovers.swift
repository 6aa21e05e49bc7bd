internal import Cluster
internal import Foundation

/// What is left of checkpoints that were never completed.
extension CheckpointReader {
    /// What a folder's name ends in once it is given up and on its way out.
    private static let givenUpSuffix = ".given-up"

    /// Takes the folder of a checkpoint that failed out of the way, at once: another try may use its name. Nothing happens if it is
    /// complete, or not there.
    ///
    /// - Returns: the name that it has until `delete` has removed it; nil if there is nothing to remove.
    /// - Throws: `CenterStoreError` if it cannot be renamed.
    public static func giveUp(_ directory: String) throws(CenterStoreError) -> String? {
        guard FileIO.isDirectory(directory), !FileIO.exists("\(directory)/\(CheckpointManifest.fileName)") else {
            return nil
        }
        let name = "\(directory).\(UInt32.random(in: .min ... .max))\(givenUpSuffix)"
        try FileIO.rename(directory, to: name)
        return name
    }

    /// Folders of checkpoints in `parent` that were given up, or begun by a coordinator that is gone: without a manifest, and nothing
    /// was written to them for `age` seconds.
    ///
    /// - Parameter used: directories that are being written.
    /// - Throws: `CenterStoreError` if `parent` cannot be listed.
    public static func leftovers(
        in parent: String, except used: Set<String>, age: Double = 3600
    ) throws(CenterStoreError) -> [String] {
        guard FileIO.isDirectory(parent) else { return [] }
        let limit = Date(timeIntervalSinceNow: -age)
        return try FileIO.names(in: parent).filter { $0.hasPrefix(CheckpointName.prefix) }.map { "\(parent)/\($0)" }
            .filter { path in
                guard !used.contains(path), FileIO.isDirectory(path),
                    !FileIO.exists("\(path)/\(CheckpointManifest.fileName)")
                else { return false }
                return path.hasSuffix(givenUpSuffix) || newestChange(in: path) < limit
            }
    }

    /// Removes what a job keeps of a checkpoint: its folder, with everything in it.
    ///
    /// - Throws: `CenterStoreError` if it cannot be removed.
    static func deleteJobFiles(of directory: String) throws(CenterStoreError) {
        let path = "\(directory)/\(CheckpointManifest.jobFolder)"
        guard FileIO.exists(path) else { return }
        do { try FileManager.default.removeItem(atPath: path) } catch {
            throw CenterStoreError(.io, "\(path) cannot be removed: \(error)")
        }
    }

    private static func newestChange(in directory: String) -> Date {
        let paths = [
            directory, directory + "/slices", directory + "/dense", "\(directory)/\(CheckpointManifest.jobFolder)",
        ]
        return paths.compactMap {
            (try? FileManager.default.attributesOfItem(atPath: $0))?[.modificationDate] as? Date
        }.max() ?? .distantPast
    }

    /// Checks that the files of a checkpoint are there, as long as they should be: another process may have removed them since they were
    /// acknowledged.
    ///
    /// - Throws: `CenterStoreError` that names the first that is not.
    public static func checkFiles(
        _ files: [CheckpointManifest.File], in directory: String
    ) throws(CenterStoreError) {
        for entry in files {
            try checkSize("\(directory)/\(entry.path)", entry.bytes)
        }
    }

    /// Checks that what a job keeps of a checkpoint is there, as long as the job has said.
    ///
    /// - Throws: `CenterStoreError` that names the first file that is not, or that is not in the folder of jobs.
    public static func checkFiles(
        _ files: [CheckpointManifest.JobFile], in directory: String
    ) throws(CenterStoreError) {
        for entry in files {
            guard entry.isInItsFolder else {
                throw CenterStoreError(
                    .damaged, "\(entry.name) is not in the folder \(CheckpointManifest.jobFolder) of \(directory)")
            }
            try checkSize("\(directory)/\(entry.name)", entry.bytes)
        }
    }

    private static func checkSize(_ path: String, _ bytes: Int) throws(CenterStoreError) {
        let size = try StoreFile(path, .read).byteCount
        guard size == bytes else {
            throw CenterStoreError(.damaged, "\(path) has \(size) bytes instead of \(bytes)")
        }
    }
}
