import ClusterHarness
import Foundation
import OperatorStatus
import Testing

/// A new directory, removed when `body` succeeds; kept, and named in the error, when it fails.
func withDirectory<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appending(path: "partialfc-tests/\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    do {
        let result = try body(directory)
        try FileManager.default.removeItem(at: directory)
        return result
    } catch {
        throw HarnessError("\(error) (logs in \(directory.path))")
    }
}

/// A folder data set of 12 identities in `directory`.
func writeFolderDataset(to directory: URL) throws -> URL { try SyntheticData.writeFolder(to: directory) }

/// A small training on the folder data set.
func folderTraining(
    _ data: URL, steps: Int, exchange: String = "features", lease: Double = 2, pauseAfter: Int = 0
) -> String {
    """
    data: {kind: folder, path: "\(data.path)", image_size: 16, channels: 1}
    backbone: {name: iresnet-small, embedding_size: 16, widths: [8, 8, 16, 16], dense_slices: 8}
    head: {scale: 16, m1: 1, m2: 0, m3: 0.1, sample_rate: 0.5, slices: 8, exchange: \(exchange)}
    batch: {size: 16, micro_batch: 4}
    schedule: {steps: \(steps), learning_rate: 0.05}
    evaluation: {held_out_pairs: 0}
    cluster: {lease_seconds: \(lease), pause_after: \(pauseAfter)}
    """
}

/// A cluster that trains on and on, once its first steps are committed.
func withEndlessTraining(
    arguments: [String] = [], shards: Int = 1, _ body: (_ cluster: LocalCluster, _ directory: URL) throws -> Void
) throws {
    try withDirectory { directory in
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        try cluster.start(
            configuration: folderTraining(writeFolderDataset(to: directory), steps: 100_000), arguments: arguments,
            world: .init(shards: shards, workers: 1))
        try cluster.waitUntilCommitted(5)
        try body(cluster, directory)
    }
}

/// A training that the tests of faults disturb, and what comes out of it if nobody does.
enum Undisturbed {
    static let steps = 300

    /// It pauses before its end, until somebody waits for that: however fast it is, it is not over before the harm is done.
    static func configuration(_ data: URL) -> String {
        folderTraining(data, steps: steps, lease: 1.5, pauseAfter: steps - 30)
    }

    /// Computed once, by one shard and one worker.
    static let run = Result {
        try withDirectory { directory in
            try TrainingRun.run(
                configuration: configuration(writeFolderDataset(to: directory)), world: .init(shards: 1, workers: 1),
                in: directory, seconds: 120)
        }
    }

    /// Trains the same in another world, does harm to it, and expects the same losses and hashes.
    static func expectNoTrace(
        of what: String, shards: Int = 2, workers: Int = 2, settings: [String] = [], shardArguments: [String] = [],
        hasStandby: Bool = false, _ disturb: (LocalCluster) throws -> Void
    ) throws {
        let undisturbed = try run.get()
        try withDirectory { directory in
            let disturbed = try TrainingRun.run(
                configuration: configuration(writeFolderDataset(to: directory)), settings: settings,
                world: .init(shards: shards, workers: workers), in: directory, seconds: 180,
                shardArguments: shardArguments, hasStandby: hasStandby, disturb: disturb)
            if let difference = disturbed.gap ?? disturbed.difference(from: undisturbed) {
                throw HarnessError("\(what): \(difference)")
            }
        }
    }
}

extension LocalCluster {
    /// Waits for a committed step and makes sure that the run is not over.
    func waitUntilInTheMiddle(after step: Int = 20) throws {
        try waitUntilCommitted(step)
        let status = try status()
        try #require(status.committed < status.totalSteps - 20, "the run is over too early for this test")
    }
}

/// Changes one bit in the middle of a file.
func flipBit(in file: URL, at fraction: Double = 0.5) throws {
    var data = try Data(contentsOf: file)
    let place = data.startIndex + Int(Double(data.count) * fraction)
    data[place] ^= 0x10
    try data.write(to: file)
}

/// The files below a directory, largest first.
func files(in directory: URL) throws -> [(url: URL, bytes: Int)] {
    let keys: [URLResourceKey] = [.isRegularFileKey, .fileSizeKey]
    let enumerator = FileManager.default.enumerator(at: directory, includingPropertiesForKeys: keys)
    var found: [(url: URL, bytes: Int)] = []
    while let url = enumerator?.nextObject() as? URL {
        let values = try url.resourceValues(forKeys: Set(keys))
        if values.isRegularFile == true { found.append((url, values.fileSize ?? 0)) }
    }
    return found.sorted { $0.bytes > $1.bytes }
}

/// A file system in memory with room for so many bytes, for tests of full and read-only disks. Only root can make one.
struct SmallDisk {
    let path: URL

    static let isPossible = geteuid() == 0 && FileManager.default.isExecutableFile(atPath: "/bin/mount")

    init(at path: URL, bytes: Int) throws {
        self.path = path
        try FileManager.default.createDirectory(at: path, withIntermediateDirectories: true)
        try Self.run("/bin/mount", ["-t", "tmpfs", "-o", "size=\(bytes)", "tmpfs", path.path])
    }

    func makeReadOnly() throws { try Self.run("/bin/mount", ["-o", "remount,ro", path.path]) }

    /// Lazily, so that it works while files are open.
    func remove() throws { try Self.run("/bin/umount", ["-l", path.path]) }

    /// Writes a file until there is no room.
    func fill() throws -> URL {
        let file = path.appending(path: "filler")
        _ = FileManager.default.createFile(atPath: file.path, contents: nil)
        let handle = try FileHandle(forWritingTo: file)
        defer { try? handle.close() }
        var size = 1 << 20
        while size > 0 {
            do { try handle.write(contentsOf: Data(count: size)) } catch { size /= 2 }
        }
        return file
    }

    private static func run(_ program: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw HarnessError("\(program) \(arguments) failed") }
    }
}
