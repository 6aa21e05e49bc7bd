import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments restart`.
struct Restart: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Kill -9 one of two shards of a large head and start it again: how long until the next committed step.")

    @OptionGroup var features: FeatureTraining

    @Option(help: "Steps before the kill.")
    var steps = 20

    @Option(help: "Kills of each kind.")
    var repetitions = 2

    @Option(help: "--replay-seconds of the shards; their default unless given.")
    var replaySeconds: Double?

    func run() throws {
        var table = TextTable([
            "started", "detection s", "start s", "load s", "replay s", "first step s", "total s", "steps replayed",
        ])
        try features.withTwoShards("restart", replaySeconds: replaySeconds) { cluster in
            try cluster.waitUntilCommitted(steps, seconds: 1200)
            let before = try FeatureTraining.stepSeconds(of: cluster)
            Experiments.say(
                "\(features.classes / 2) × \(features.embeddingSize) on each of 2 shards, \(Units.fixed(before, 2)) s a step before"
            )
            for round in 0..<2 * repetitions {
                let waits = round % 2 == 0
                let shard = cluster.shards[1]
                let name = try cluster.name(of: shard)
                let clock = ContinuousClock()
                func seconds(since start: ContinuousClock.Instant) -> Double {
                    start.duration(to: clock.now) / .seconds(1)
                }
                let killed = clock.now
                shard.kill()
                if waits {
                    try cluster.waitForStatus("the coordinator misses \(name)", seconds: 60) { status in
                        status.shards.first { $0.name == name }?.alive == false
                    }
                }
                let detection = seconds(since: killed)
                let committed = try cluster.status().committed
                let started = clock.now
                try shard.start()
                let joined = try cluster.waitForStatus("\(name) is back", seconds: 600) { status in
                    status.shards.first { $0.name == name }.map {
                        $0.alive && $0.processID == Int(shard.processIdentifier) && $0.loadSeconds != nil
                    } ?? false
                }
                let back = seconds(since: started)
                let figures = joined.shards.first { $0.name == name }
                let (load, replay) = (figures?.loadSeconds ?? .nan, figures?.replaySeconds ?? .nan)
                try cluster.waitUntilCommitted(committed + 1, seconds: 600)
                let total = seconds(since: killed)
                table.add(
                    [waits ? "when it is missed" : "at once"]
                        + [waits ? detection : 0, back - load - replay, load, replay, total - detection - back, total]
                        .map {
                            Units.fixed($0, 2)
                        } + ["\(figures?.replayedSteps ?? 0)"])
                try cluster.waitUntilCommitted(committed + 5, seconds: 600)
            }
        }
        Experiments.say(table.render())
        Experiments.say(
            "start: from exec to the first word with the coordinator, without load and replay; lease \(FaceTraining.lease) s"
        )
    }
}
