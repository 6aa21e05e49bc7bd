import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ParameterStore
import ProcessSupport

/// `experiments ten-million`.
struct TenMillion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train a head of ten million classes on this machine, checkpoint it, kill its shard and go on.",
        discussion: "Rows in bf16, momentum in int8, products in bf16; features with a direction per class.")

    @Option(help: "C.") var classes = 10_000_000
    @Option(help: "D.") var embeddingSize = 512
    @Option(help: "B.") var batch = 128
    @Option(help: "r.") var sampleRate = 0.1
    @Option(help: "Slices.") var slices = 64
    @Option(help: "Steps before the checkpoint.") var steps = 100
    @Option(help: "Steps after the shard has come back.") var stepsAfter = 20
    @Option(help: "Classes that have samples.") var present = 2048
    @Option(help: "Threads of the shard.") var threads = ProcessInfo.processInfo.activeProcessorCount
    @Option(help: "Where the cluster keeps its state; removed at the end.") var directory: String?

    func run() throws {
        let root = directory.map { URL(filePath: $0) } ?? Experiments.directory("ten-million")
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
        try checkRoom(root)
        let cluster = try LocalCluster(directory: root)
        defer {
            cluster.stop()
            try? FileManager.default.removeItem(at: root)
        }
        let clock = ContinuousClock()
        let start = clock.now
        func elapsed() -> String { "\(Units.fixed(start.duration(to: clock.now) / .seconds(1), 0)) s: " }

        try cluster.start(
            configuration: try configuration(in: root), world: .init(shards: 1, workers: 1, threads: threads))
        var next = 0
        func follow(until step: Int) throws {
            try cluster.waitForStatus("step \(step) is committed", seconds: 3600) { status in
                if status.committed >= next {
                    Experiments.say(elapsed() + line(status))
                    next = status.committed + 5
                }
                return status.committed >= step
            }
        }
        try follow(until: 0)
        Experiments.say(elapsed() + "the first step is committed: rows made, \(resident(cluster))")
        try follow(until: steps - 1)

        Experiments.say(elapsed() + "checkpoint ordered")
        let ordered = clock.now
        try cluster.order("checkpoint")
        let with = try cluster.waitForStatus("the checkpoint is there", seconds: 3600) { !$0.checkpoints.isEmpty }
        let seconds = ordered.duration(to: clock.now) / .seconds(1)
        let bytes = size(of: root.appending(path: "checkpoints"))
        Experiments.say(
            elapsed()
                + "checkpoint of step \(with.checkpoints[0].step): \(Units.bytes(bytes)) in \(Units.fixed(seconds, 1)) s; step \(with.committed) meanwhile"
        )

        let before = try cluster.status().committed
        Experiments.say(elapsed() + "kill -9 of the shard at step \(before), \(resident(cluster))")
        cluster.shards[0].kill()
        let killed = clock.now
        try cluster.shards[0].start()
        try cluster.waitForStatus("training goes on", seconds: 3600) { $0.committed > before }
        let shard = try cluster.status().shards[0]
        Experiments.say(
            elapsed()
                + "the next step after \(Units.fixed(killed.duration(to: clock.now) / .seconds(1), 1)) s: load \(Units.fixed(shard.loadSeconds ?? .nan, 1)) s, "
                + "replay of \(shard.replayedSteps ?? 0) steps \(Units.fixed(shard.replaySeconds ?? .nan, 1)) s")
        try follow(until: before + stepsAfter)

        let lines = try RecordedStep.all(in: root)
        guard lines.map(\.step) == Array(0..<lines.count) else { throw HarnessError("steps are missing or double") }
        let losses = lines.compactMap(\.loss)
        Experiments.say(
            "\(lines.count) steps without a gap; loss \(Units.fixed(losses.first ?? .nan, 2)) at first, \(Units.fixed(losses.last ?? .nan, 2)) at last; "
                + "median step \(Units.fixed(Experiments.median(lines.prefix(steps).dropFirst(5).map(\.seconds)), 2)) s; \(resident(cluster))"
        )
        guard let first = losses.first, let last = losses.last, last < first / 2 else {
            throw HarnessError("the loss has not fallen to half")
        }
    }

    private var format: TableFormat { TableFormat(rows: .bf16, momentum: .int8) }

    /// - Throws: `ValidationError` if the table does not fit the memory, or its files the disk.
    private func checkRoom(_ root: URL) throws {
        let table = classes * format.byteCount(width: embeddingSize)
        let memory = Double(table) * (1 + sampleRate) + 2e9
        // Slices as the shard keeps them, and the checkpoint.
        let disk = 2.1 * Double(table) + 1e9
        let free = try root.resourceValues(forKeys: [.volumeAvailableCapacityKey]).volumeAvailableCapacity ?? 0
        Experiments.say(
            "\(classes) × \(embeddingSize): \(Units.bytes(table)) of rows and momentum; needs about \(Units.bytes(Int(memory))) of memory "
                + "(\(Units.bytes(ProcessMemory.availableBytes)) are free) and \(Units.bytes(Int(disk))) of disk (\(Units.bytes(free)) are free in \(root.path))"
        )
        guard memory < Double(ProcessMemory.availableBytes) else {
            throw ValidationError("not enough memory for \(classes) classes: use --classes")
        }
        guard disk < Double(free) else {
            throw ValidationError(
                "not enough room in \(root.path) for \(classes) classes: use --directory or --classes")
        }
    }

    private func configuration(in root: URL) throws -> String {
        let path = root.appending(path: "features.safetensors")
        try SyntheticData.writeClusters(
            to: path, samples: 64 * batch, size: embeddingSize, classes: classes, present: present, seed: 1)
        return """
            data: {kind: features, path: "\(path.path)", classes: \(classes)}
            backbone: {name: none, embedding_size: \(embeddingSize)}
            head: {scale: 64, m1: 1, m2: 0, m3: 0.4, sample_rate: \(sampleRate), slices: \(slices), exchange: features, storage: bf16, momentum_storage: int8}
            batch: {size: \(batch), micro_batch: \(max(1, batch / 4))}
            schedule: {steps: 1000000, learning_rate: 0.1, warmup: 0}
            evaluation: {held_out_pairs: 0}
            """
    }

    private func line(_ status: ClusterStatus) -> String {
        let speed = status.samplesPerSecond.map { "\(Units.fixed($0, 1)) samples/s" } ?? ""
        let shard = status.shards.first.map { Units.bytes($0.residentBytes) } ?? ""
        return
            "step \(status.committed): loss \(status.loss.map { Units.fixed($0, 3) } ?? "-"), \(speed), shard \(shard) resident"
    }

    /// Peaks of every process.
    private func resident(_ cluster: LocalCluster) -> String {
        "peak resident: "
            + cluster.processes.filter(\.isRunning).map {
                "\($0.name) \(Units.bytes(ProcessMemory.peakResidentBytes(of: $0.processIdentifier)))"
            }.joined(separator: ", ")
    }

    private func size(of folder: URL) -> Int {
        let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: [.fileSizeKey])
        return (files?.compactMap { $0 as? URL } ?? []).reduce(0) {
            $0 + ((try? $1.resourceValues(forKeys: [.fileSizeKey]).fileSize) ?? 0)
        }
    }
}
