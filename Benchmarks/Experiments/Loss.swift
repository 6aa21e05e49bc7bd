import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments loss`.
struct Loss: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "One of two shards of a large head is lost with its directory: how long until the next committed step, and until there are two copies again."
    )

    @OptionGroup var features: FeatureTraining

    @Option(help: "Steps after the copies are complete, before a loss.")
    var steps = 20

    @Option(help: "Losses.")
    var repetitions = 2

    @Option(help: "cluster.promote_after")
    var promoteAfter = 2.0

    @Option(help: "--replay-seconds of the shards; their default unless given.")
    var replaySeconds: Double?

    @Flag(help: "Measure no recovery: a fresh shard does not join, and one loss is all.")
    var once = false

    func run() throws {
        var table = TextTable([
            "detection s", "load s", "replay s", "steps replayed", "first step s", "total s", "copies again s",
        ])
        try features.withTwoShards(
            "loss", replaySeconds: replaySeconds,
            settings: ["cluster.copies=2", "cluster.promote_after=\(promoteAfter)"]
        ) { cluster in
            let clock = ContinuousClock()
            func seconds(since start: ContinuousClock.Instant) -> Double { start.duration(to: clock.now) / .seconds(1) }
            let began = clock.now
            var complete = try waitForCopies(cluster)
            Experiments.say(
                "\(features.classes / 2) × \(features.embeddingSize) on each of 2 shards, \(Units.bytes(features.stateBytes)) in all: every slice "
                    + "has two copies \(Units.fixed(seconds(since: began), 0)) s after the start, at step \(complete.committed)"
            )
            for round in 0..<(once ? 1 : repetitions) {
                try cluster.waitUntilCommitted(complete.committed + steps, seconds: 1200)
                let before = try FeatureTraining.stepSeconds(of: cluster)
                let (victim, heir) = (cluster.shards[round], try cluster.name(of: cluster.shards[round + 1]))
                let lost = clock.now
                victim.kill()
                try FileManager.default.removeItem(at: cluster.shardDirectory(round))
                let committed = try cluster.status().committed
                try cluster.waitForStatus("it is taken for lost", seconds: 120) {
                    $0.task?.kind.contains("promote") == true || $0.owners == [heir]
                }
                let detection = seconds(since: lost)
                try cluster.waitForStatus("\(heir) owns everything", seconds: 1200) { $0.owners == [heir] }
                let promoted = seconds(since: lost)
                try cluster.waitUntilCommitted(committed + 1, seconds: 600)
                let total = seconds(since: lost)
                // Its statistics come with a heartbeat.
                try cluster.waitUntilCommitted(committed + 3, seconds: 600)
                let figures = try cluster.waitForStatus("its figures", seconds: 60) { status in
                    status.shards.first { $0.name == heir }?.loadSeconds != nil
                }.shards.first { $0.name == heir }
                var row = [detection, figures?.loadSeconds ?? .nan, figures?.replaySeconds ?? .nan].map {
                    Units.fixed($0, 2)
                }
                row += ["\(figures?.replayedSteps ?? 0)", Units.fixed(total - promoted, 2), Units.fixed(total, 2)]
                Experiments.say("\(Units.fixed(before, 2)) s a step before; \(row)")
                if once {
                    row.append("–")
                } else {
                    let joined = clock.now
                    try cluster.addShard()
                    complete = try waitForCopies(cluster)
                    row.append(Units.fixed(seconds(since: joined), 0))
                }
                table.add(row)
            }
        }
        Experiments.say(table.render())
        Experiments.say(
            "detection: lease \(FaceTraining.lease) s and promote_after \(promoteAfter) s; load: \(load)")
    }

    private var load: String {
        (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8))?.split(separator: "\n").first.map(String.init)
            ?? "unknown"
    }

    private func waitForCopies(_ cluster: LocalCluster) throws -> ClusterStatus {
        try cluster.waitForStatus("every slice has two copies", seconds: 3600) { status in
            status.owners.count == 2 && !status.isMoving
                && status.copies.map { $0.slices > 0 && $0.complete == $0.slices } ?? false
        }
    }
}
