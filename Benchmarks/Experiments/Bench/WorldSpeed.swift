import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// How fast a cluster of real processes trains a head.
struct WorldSpeed: Codable {
    var shards: Int
    var workers: Int
    /// Threads of every process.
    var threads: Int
    /// How the softmax, rows and gradients travel.
    var exchange: String
    /// Median of the time from commit to commit.
    var milliseconds: Double
    /// The most that any shard had resident.
    var shardResidentBytes: Int
}

/// `experiments worlds`.
struct WorldsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worlds",
        abstract: "Time the steps of clusters that train the same head with 1, 2 and 4 shards, and with 2 workers.")

    @OptionGroup var features: FeatureTraining
    @Option(help: "Steps, of which the first fifth is not counted.") var steps = 40
    @Option(help: "Threads of every process.") var threads = 2
    @Option(help: "Shards:workers.") var worlds = ["1:1", "2:1", "4:1", "2:2"]

    func run() throws {
        try Experiments.sayJSON(
            worlds.map { world in
                let counts = world.split(separator: ":").compactMap { Int($0) }
                guard counts.count == 2 else { throw ValidationError("\(world) is not shards:workers") }
                return try measure(shards: counts[0], workers: counts[1])
            })
    }

    private func measure(shards: Int, workers: Int) throws -> WorldSpeed {
        let directory = Experiments.directory("worlds")
        let cluster = try LocalCluster(directory: directory)
        defer {
            cluster.stop()
            try? FileManager.default.removeItem(at: directory)
        }
        cluster.shardArguments = ["--durability", "checkpoint"]
        try cluster.start(
            configuration: features.configuration(steps: 1_000_000, in: directory),
            world: .init(shards: shards, workers: workers, threads: threads))
        try cluster.waitUntilCommitted(steps, seconds: 1200)
        let peak = cluster.shards.map { ProcessMemory.peakResidentBytes(of: $0.processIdentifier) }.max() ?? 0
        let seconds = try StepLine.all(in: directory).prefix(steps).dropFirst(steps / 5).map(\.seconds)
        return WorldSpeed(
            shards: shards, workers: workers, threads: threads, exchange: features.exchangeName,
            milliseconds: Experiments.median(seconds) * 1000,
            shardResidentBytes: peak)
    }
}
