public import Foundation

/// A training by a cluster of processes, and what is left of it: the losses and the hashes of everything.
public struct TrainingRun {
    /// The loss of every committed step, as bits; a step that is missing or double shows.
    public var losses: [(step: Int, bits: String)]
    /// The JSON of `coordinator hashes`.
    public var hashes: String
    /// Steps per second from the first commit to the last.
    public var stepsPerSecond: Double
    /// Steps that were begun more than once.
    public var retriedSteps: Int
    /// Mean of the losses of the last tenth of the steps.
    public var finalLoss: Double

    /// The number of processes of a run.
    public struct World: Sendable, Hashable, CustomStringConvertible {
        public var shards: Int
        public var workers: Int
        public var threads: Int

        public init(shards: Int, workers: Int, threads: Int = 1) {
            self.shards = shards
            self.workers = workers
            self.threads = threads
        }

        public var description: String { "\(shards) shards, \(workers) workers, \(threads) threads" }
    }

    /// Trains to the end.
    ///
    /// - Parameter disturb: called once the cluster has started, to do harm; it should return soon.
    /// - Throws: `HarnessError` if the run fails or takes longer than `seconds`.
    public static func run(
        configuration: String, settings: [String] = [], world: World, in directory: URL, seconds: Double,
        disturb: (LocalCluster) throws -> Void = { _ in }
    ) throws -> TrainingRun {
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        try cluster.startCoordinator(
            configuration: configuration,
            settings: settings + ["cluster.shards=\(world.shards)", "cluster.workers=\(world.workers)"])
        for _ in 0..<world.shards { try cluster.addShard(threads: world.threads) }
        for _ in 0..<world.workers { try cluster.addWorker(threads: world.threads) }
        try disturb(cluster)
        try cluster.waitUntilFinished(seconds: seconds)
        let hashes = try cluster.query("hashes")
        let text = try String(contentsOf: directory.appending(path: "metrics.jsonl"), encoding: .utf8)
        let lines = text.split(separator: "\n").compactMap {
            (try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any]
        }.filter { $0["lossBits"] != nil }
        let losses = lines.map { ($0["step"] as? Int ?? -1, $0["lossBits"] as? String ?? "") }
        let seconds = lines.dropFirst().reduce(0) { $0 + ($1["seconds"] as? Double ?? 0) }
        let tail = lines.suffix(max(1, lines.count / 10)).compactMap { $0["loss"] as? Double }
        return TrainingRun(
            losses: losses, hashes: String(decoding: hashes, as: UTF8.self),
            stepsPerSecond: Double(max(lines.count - 1, 0)) / max(seconds, 1e-9),
            retriedSteps: lines.count { ($0["attempts"] as? Int ?? 1) > 1 },
            finalLoss: tail.reduce(0, +) / Double(max(tail.count, 1)))
    }

    /// The first difference from another run, nil if losses and hashes are equal.
    public func difference(from other: TrainingRun) -> String? {
        for (a, b) in zip(losses, other.losses) where a != b {
            return "step \(a.step): loss \(a.bits), expected \(b.bits)"
        }
        if losses.count != other.losses.count { return "\(losses.count) steps, expected \(other.losses.count)" }
        return hashes == other.hashes ? nil : "the hashes differ"
    }

    /// What is wrong with the sequence of committed steps, nil if it is 0, 1, 2, …
    public var gap: String? {
        for (index, loss) in losses.enumerated() where loss.step != index {
            return "commit \(index) is of step \(loss.step)"
        }
        return nil
    }
}
