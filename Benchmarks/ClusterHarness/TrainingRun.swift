public import ClusterKeys
public import Foundation
internal import ProcessSupport

/// A training by a cluster of processes, and what is left of it: the losses and the hashes of everything.
public struct TrainingRun: Sendable {
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
        /// Whether the shards share the cores of this machine out among themselves, and the workers likewise.
        public var isPinned: Bool

        public init(shards: Int, workers: Int, threads: Int = 1, isPinned: Bool = false) {
            self.shards = shards
            self.workers = workers
            self.threads = threads
            self.isPinned = isPinned
        }

        /// The option that keeps process `index` of `count` on its part of the cores; at least one.
        func coreArguments(_ index: Int, of count: Int) -> [String] {
            guard isPinned else { return [] }
            let cores = ProcessorCores.allowed.numbers
            let first = index * cores.count / count
            let part = cores[first..<max(first + 1, (index + 1) * cores.count / count)]
            return ["--cores", part.map(String.init).joined(separator: ",")]
        }

        public var description: String { "\(shards) shards, \(workers) workers, \(threads) threads" }
    }

    /// Trains to the end.
    ///
    /// - Parameters:
    ///   - arguments: options for the coordinator.
    ///   - shardArguments: options for every shard server.
    ///   - encryption: gives all processes keys, and says what is encrypted with them.
    ///   - hasStandby: whether members know of a second coordinator, which `disturb` may start.
    ///   - disturb: called once the cluster has started, to do harm; the run need not be finished when it returns.
    /// - Throws: `HarnessError` if the run fails or takes longer than `seconds`.
    public static func run(
        configuration: String, settings: [String] = [], arguments: [String] = [], world: World, in directory: URL,
        seconds: Double, shardArguments: [String] = [], encryption: Encryption? = nil,
        hasStandby: Bool = false, disturb: (LocalCluster) throws -> Void = { _ in }
    ) throws -> TrainingRun {
        let cluster = try LocalCluster(directory: directory, encryption: encryption, hasStandby: hasStandby)
        defer { cluster.stop() }
        cluster.shardArguments = shardArguments
        try cluster.start(configuration: configuration, settings: settings, arguments: arguments, world: world)
        try disturb(cluster)
        try cluster.waitUntilFinished(seconds: seconds)
        return try TrainingRun(of: cluster)
    }

    /// What a finished run has left.
    ///
    /// - Throws: `HarnessError` if a shard does not answer; if there are no metrics.
    public init(of cluster: LocalCluster) throws {
        hashes = String(decoding: try cluster.query("hashes"), as: UTF8.self)
        let lines = try RecordedStep.all(in: cluster.directory)
        losses = lines.map { ($0.step, $0.lossBits ?? "skipped") }
        let seconds = lines.dropFirst().reduce(0) { $0 + $1.seconds }
        stepsPerSecond = Double(max(lines.count - 1, 0)) / max(seconds, 1e-9)
        retriedSteps = lines.count { $0.attempts > 1 }
        let tail = lines.suffix(max(1, lines.count / 10))
        finalLoss = tail.reduce(0) { $0 + ($1.loss ?? 0) } / Double(max(tail.count, 1))
    }

    /// The first difference from another run, nil if losses and hashes are equal.
    public func difference(from other: TrainingRun) -> String? {
        for (a, b) in zip(losses, other.losses) where a != b {
            return "step \(a.step): loss \(a.bits), expected \(b.bits)"
        }
        if losses.count != other.losses.count { return "\(losses.count) steps, expected \(other.losses.count)" }
        return hashes == other.hashes ? nil : "the hashes differ"
    }

    /// A short text that is equal for equal hashes.
    public var digest: String {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in hashes.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return String(value, radix: 16)
    }

    /// What is wrong with the sequence of committed steps, nil if it is 0, 1, 2, …
    public var gap: String? {
        for (index, loss) in losses.enumerated() where loss.step != index {
            return "commit \(index) is of step \(loss.step)"
        }
        return nil
    }
}

/// What `metrics.jsonl` says of a committed step.
public struct RecordedStep: Sendable, Decodable {
    public var step: Int
    /// Nil if the step was skipped.
    public var loss: Double?
    /// The bits of the loss, hexadecimal.
    public var lossBits: String?
    public var attempts: Int
    /// Seconds since the commit before.
    public var seconds: Double

    /// The steps of the run whose output is in `directory`, in the order of the file.
    ///
    /// - Throws: if there is no such file.
    public static func all(in directory: URL) throws -> [RecordedStep] {
        let text = try String(contentsOf: directory.appending(path: "metrics.jsonl"), encoding: .utf8)
        return text.split(separator: "\n").compactMap {
            try? JSONDecoder().decode(RecordedStep.self, from: Data($0.utf8))
        }
    }
}

extension LocalCluster {
    /// Starts a coordinator and the shards and workers that it waits for.
    ///
    /// - Throws: `HarnessError` if the coordinator does not listen.
    public func start(
        configuration: String, settings: [String] = [], arguments: [String] = [], world: TrainingRun.World
    ) throws {
        try startCoordinator(
            configuration: configuration,
            settings: settings + ["cluster.shards=\(world.shards)", "cluster.workers=\(world.workers)"],
            arguments: arguments)
        for index in 0..<world.shards {
            try addShard(threads: world.threads, arguments: world.coreArguments(index, of: world.shards))
        }
        for index in 0..<world.workers {
            try addWorker(threads: world.threads, arguments: world.coreArguments(index, of: world.workers))
        }
    }
}
