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
    @Flag(help: "Keep every shard on a part of the cores of its own, and every worker likewise.") var pinned = false
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
        let world = TrainingRun.World(shards: shards, workers: workers, threads: threads, isPinned: pinned)
        let (seconds, peak) = try features.time(steps: steps, world: world, in: "worlds") { cluster in
            cluster.shards.map { ProcessMemory.peakResidentBytes(of: $0.processIdentifier) }.max() ?? 0
        }
        return WorldSpeed(
            shards: shards, workers: workers, threads: threads, exchange: features.exchangeName,
            milliseconds: seconds * 1000, shardResidentBytes: peak)
    }
}
