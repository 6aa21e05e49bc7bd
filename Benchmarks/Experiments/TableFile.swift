import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments table-file`.
struct TableFile: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train with a table in memory, in files, and in files with less memory than the table is large.",
        discussion: "Rows in bf16, momentum in int8. Limiting the memory takes root.")

    @OptionGroup var features: FeatureTraining
    @Option(help: "Steps, of which the first fifth is not counted.") var steps = 30
    @Option(help: "Threads of the shard.") var threads = ProcessInfo.processInfo.activeProcessorCount
    @Option(help: "Memory of the shard as a part of the table's size.") var memory = [1.0, 0.5, 0.25]
    @Option(help: "Where the files go: on the disk that is to be measured.") var directory: String?

    func run() throws {
        let size = Double(features.stateBytes)
        Experiments.say(
            "\(features.classes) × \(features.embeddingSize), r = \(features.sampleRate): a table of \(Units.fixed(size / 1e9, 2)) GB"
        )
        var table = TextTable(["table", "memory of the shard", "ms a step", "GB read from disk", "GB written, a step"])
        table.add(try measure("in memory", file: false, limit: nil))
        table.add(try measure("in files", file: true, limit: nil))
        for part in memory { table.add(try measure("in files", file: true, limit: Int(part * size))) }
        Experiments.say(table.render())
    }

    private func measure(_ name: String, file: Bool, limit: Int?) throws -> [String] {
        let root = directory.map { URL(filePath: $0) } ?? Experiments.directory("table-file")
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
        let cluster = try LocalCluster(directory: root)
        let group = try limit.map { try MemoryLimit(bytes: $0) }
        defer {
            cluster.stop()
            group?.remove()
            try? FileManager.default.removeItem(at: root)
        }
        cluster.shardArguments =
            ["--durability", "checkpoint"] + (file ? ["--table-file", root.path] : [])
        try cluster.startCoordinator(
            configuration: features.configuration(steps: 1_000_000, in: root),
            settings: ["cluster.shards=1", "cluster.workers=1"])
        let shard = try cluster.addShard(threads: threads)
        try group?.add(shard)
        try cluster.addWorker()
        let skipped = steps / 5
        try cluster.waitUntilCommitted(skipped, seconds: 3600)
        let before = traffic(shard)
        try cluster.waitUntilCommitted(steps, seconds: 3600)
        let after = traffic(shard)
        let lines = try RecordedStep.all(in: root)
        let counted = lines.filter { $0.step > skipped && $0.step <= steps }.map(\.seconds)
        func perStep(_ key: String) -> String {
            Units.fixed((after[key, default: 0] - before[key, default: 0]) / Double(counted.count) / 1e9, 2)
        }
        return [
            name, limit.map { "\(Units.fixed(Double($0) / 1e9, 2)) GB" } ?? "not limited",
            Units.fixed(Experiments.median(counted) * 1000, 0), perStep("read_bytes"), perStep("write_bytes"),
        ]
    }

    /// What the process has caused the disk to do, in bytes.
    private func traffic(_ process: ClusterProcess) -> [String: Double] {
        let text = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/io", encoding: .utf8)) ?? ""
        let pairs = text.split(separator: "\n").compactMap { line -> (String, Double)? in
            let words = line.split(separator: ":")
            guard words.count == 2, let value = Double(words[1].trimmingCharacters(in: .whitespaces)) else {
                return nil
            }
            return (String(words[0]), value)
        }
        return Dictionary(pairs) { first, _ in first }
    }
}
