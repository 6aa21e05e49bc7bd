public import Foundation

/// A file system in a file, that can lose power. Only root can use one.
public final class LoopDisk {
    public enum Kind: String, CaseIterable, Sendable { case ext4, xfs }

    /// Where it is mounted.
    public let path: URL
    private let kind: Kind
    private let image: URL
    private var isMounted = false

    /// Why none can be made here, nil if one can.
    public static var problem: String? {
        if geteuid() != 0 { return "only root can mount a file system" }
        for program in ["mount", "umount"] + Kind.allCases.map({ "mkfs.\($0.rawValue)" }) where find(program) == nil {
            return "\(program) is missing: apt-get install xfsprogs e2fsprogs mount"
        }
        return nil
    }

    /// Makes a file system of `bytes` and mounts it in `directory`.
    ///
    /// - Throws: `HarnessError` if a program for it fails.
    public init(_ kind: Kind, in directory: URL, bytes: Int = 512 << 20) throws {
        self.kind = kind
        path = directory.appending(path: "disk")
        image = directory.appending(path: "image")
        try FileManager.default.createDirectory(at: path, withIntermediateDirectories: true)
        _ = FileManager.default.createFile(atPath: image.path, contents: nil)
        let file = try FileHandle(forWritingTo: image)
        try file.truncate(atOffset: UInt64(bytes))
        try file.close()
        try Self.run("mkfs.\(kind.rawValue)", ["-q", image.path])
        try mount()
    }

    deinit { remove() }

    /// Cuts the power: from here on nothing is written any more, the journal neither. What was not on the disk is lost.
    ///
    /// - Throws: `HarnessError` if the file system does not know how.
    public func cutPower() throws {
        let descriptor = open(path.path, O_RDONLY | O_DIRECTORY)
        guard descriptor >= 0 else { throw HarnessError("\(path.path) cannot be opened") }
        defer { close(descriptor) }
        // EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same call; 2: without flushing the log.
        var flags: UInt32 = 2
        guard ioctl(descriptor, 0x8004_587D, &flags) == 0 else {
            throw HarnessError("\(kind) cannot be shut down: \(String(cString: strerror(errno)))")
        }
    }

    /// What happens when the power is back: no process has a file of it open any more.
    ///
    /// - Throws: `HarnessError` if it cannot be mounted again.
    public func restorePower() throws {
        try unmount()
        try mount()
    }

    private func mount() throws {
        try Self.run("mount", ["-t", kind.rawValue, "-o", "loop", image.path, path.path])
        isMounted = true
    }

    private func unmount() throws {
        guard isMounted else { return }
        var problem: (any Error)?
        // A process that was killed a moment ago may not be gone altogether.
        for _ in 0..<100 {
            do {
                try Self.run("umount", [path.path])
                isMounted = false
                return
            } catch { problem = error }
            Thread.sleep(forTimeInterval: 0.1)
        }
        if let problem { throw problem }
    }

    /// Unmounts it and removes its file; the loop device goes with the mount.
    public func remove() {
        try? unmount()
        if isMounted { try? Self.run("umount", ["-l", path.path]) }
        isMounted = false
        try? FileManager.default.removeItem(at: image)
    }

    private static func find(_ program: String) -> String? {
        ["/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"].map { $0 + program }.first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
    }

    private static func run(_ program: String, _ arguments: [String]) throws {
        guard let path = find(program) else { throw HarnessError("\(program) is missing") }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw HarnessError("\(program) \(arguments): \(text)") }
    }
}
