internal import Foundation

/// Bounds the memory of processes of this machine, the pages of their files included, with a control group.
public final class MemoryLimit {
    private let directory: URL

    /// - Parameter bytes: that the processes may have together.
    /// - Throws: `HarnessError` where there are no control groups for memory, or this user may not make one.
    public init(bytes: Int) throws {
        let name = "partialfc-\(UUID().uuidString)"
        let root = URL(filePath: "/sys/fs/cgroup")
        let old = root.appending(path: "memory")
        let isOld = FileManager.default.fileExists(atPath: old.appending(path: "memory.limit_in_bytes").path)
        directory = (isOld ? old : root).appending(path: name)
        do {
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
            try write("\(bytes)", to: isOld ? "memory.limit_in_bytes" : "memory.max")
        } catch {
            throw HarnessError(
                "memory cannot be limited here, which takes root and a control group for memory: \(error)")
        }
    }

    /// Puts a process under the limit: what it takes from now on counts.
    public func add(_ process: ClusterProcess) throws { try write("\(process.processIdentifier)", to: "cgroup.procs") }

    /// A write to a control file is one system call, without a temporary file.
    private func write(_ text: String, to name: String) throws {
        let file = try FileHandle(forWritingTo: directory.appending(path: name))
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
    }

    /// Removes the group, once its processes have ended.
    public func remove() {
        // The kernel takes a moment to let go of the last one.
        for _ in 0..<100 where rmdir(directory.path) != 0 { Thread.sleep(forTimeInterval: 0.05) }
    }
}
