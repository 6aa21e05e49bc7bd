import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments move`.
struct Move: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "A third shard joins while two train a large head: how long its slices are on their way, and what steps take."
    )

    @OptionGroup var features: FeatureTraining

    @Option(help: "Steps before the third shard joins, and after its slices have arrived.")
    var steps = 20

    func run() throws {
        let directory = Experiments.directory("move")
        let cluster = try LocalCluster(directory: directory)
        defer {
            cluster.stop()
            try? FileManager.default.removeItem(at: directory)
        }
        try cluster.start(
            configuration: features.configuration(steps: 1_000_000, in: directory), world: .init(shards: 2, workers: 1))
        try cluster.waitUntilCommitted(steps, seconds: 1200)
        try cluster.addShard()
        let clock = ContinuousClock()
        let begin = try cluster.waitForStatus("slices move", seconds: 120) { $0.isMoving }
        let start = clock.now
        var moved: Set<String> = Set(begin.movingSlices)
        let end = try cluster.waitForStatus("the slices have moved", seconds: 1800) {
            moved.formUnion($0.movingSlices)
            return !$0.isMoving && $0.owners.count == 3
        }
        let seconds = start.duration(to: clock.now) / .seconds(1)
        try cluster.waitUntilCommitted(end.committed + steps, seconds: 1200)
        let bytes = Double(features.stateBytes) * Double(moved.count) / Double(features.slices)
        let lines = try RecordedStep.all(in: directory)
        func median(_ range: ClosedRange<Int>) -> String {
            Units.fixed(Experiments.median(lines.filter { range.contains($0.step) }.map(\.seconds)) * 1000, 0)
        }
        let during = lines.filter { $0.step > begin.committed && $0.step <= end.committed }.map(\.seconds)
        Experiments.say(
            "\(features.classes) × \(features.embeddingSize) from 2 to 3 shards: \(moved.count) of \(features.slices) slices, "
                + "\(Units.fixed(bytes / 1e9, 2)) GB in \(Units.fixed(seconds, 1)) s, \(Units.fixed(bytes / seconds / 1e6, 0)) MB/s, "
                + "\(end.committed - begin.committed) steps meanwhile")
        Experiments.say(
            "step time in ms, medians: \(median(steps / 4...begin.committed)) before, "
                + "\(median(begin.committed + 1...end.committed)) during (longest \(Units.fixed((during.max() ?? .nan) * 1000, 0))), "
                + "\(median(end.committed + 3...end.committed + steps)) after")
    }
}
