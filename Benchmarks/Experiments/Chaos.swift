import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments chaos`.
struct Chaos: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Kill, stop, restart, add and drain random processes at random moments of a training; the bits must be the same."
    )

    @OptionGroup var training: FaceTraining

    @Option(help: "Number of kills and stops.")
    var faults = 40

    @Option(help: "What is done is a function of this.")
    var seed = UInt64.random(in: 0...1_000_000)

    @Option(
        help: "Stages of the head's values, of equal length: kills fall where a log reaches back over the end of one.")
    var stages = 30

    @Option(help: "Seconds after which the run counts as stuck.")
    var patience = 900.0

    func run() throws {
        Experiments.say("seed \(seed)")
        let world = TrainingRun.World(shards: 2, workers: 2)
        let undisturbed = try training.undisturbed(world, settings: stageSettings, seconds: 600)
        let directory = Experiments.directory("chaos-\(seed)")
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        // A log that is often too long: snapshots are taken all the time.
        cluster.shardArguments = ["--log-bytes", "2000000"]
        try cluster.start(
            configuration: training.configuration(),
            settings: stageSettings + [
                "checkpoint.directory=\(directory.appending(path: "checkpoints").path)", "checkpoint.every_steps=50",
                "checkpoint.keep=2",
            ], world: world)
        let supervisor = ChaosSupervisor(
            cluster: cluster,
            options: .init(seed: seed, faults: faults, steps: training.steps, lease: FaceTraining.lease),
            say: Experiments.say)
        let start = Date()
        let report = try supervisor.run(seconds: patience)
        let run = try TrainingRun(of: cluster)
        show(report, seconds: Date().timeIntervalSince(start))
        let (replays, crossings) = try replays(in: directory)
        Experiments.say("\(replays) replays of a log, \(crossings) over the end of a stage")
        let difference = run.gap ?? run.difference(from: undisturbed)
        let missing = report.faultCount < faults ? "the run was over after \(report.faultCount) faults" : nil
        let crash = report.crashes.isEmpty ? nil : "crashed: \(report.crashes.joined(separator: ", "))"
        Experiments.say(
            "seed \(seed): \(report.faultCount) faults in \(run.losses.count) steps, "
                + (difference ?? crash ?? missing ?? "no gap, same losses, same hashes"))
        Experiments.say("hashes \(undisturbed.digest) undisturbed, \(run.digest) disturbed; logs in \(directory.path)")
        if difference ?? crash ?? missing != nil { throw ExitCode(1) }
    }

    /// Sample rate, margins and filter, other ones in every stage; in every third they go from one value to another.
    private var stageSettings: [String] {
        guard stages > 1 else { return [] }
        let list = (0..<stages).map { index in
            let until = index == stages - 1 ? "" : "until: \(Double(index + 1) / Double(stages)), "
            let rate = ["0.05", "0.2", "0 to 0.1"][index % 3]
            let margin = ["0.2", "0.1 to 0.3", "0.15"][index % 3]
            return "{\(until)sample_rate: \(rate), m3: \(margin), interclass_filter: \(index % 2 == 0 ? "0" : "0.5")}"
        }
        return ["schedule.stages=[\(list.joined(separator: ", "))]"]
    }

    /// How often a shard began by doing steps of its log again, and how often these were of more than one stage.
    private func replays(in directory: URL) throws -> (all: Int, crossing: Int) {
        let ends = (1..<max(stages, 2)).map { training.steps * $0 / stages }
        let line = /after step (\d+), loaded in .* s, (\d+) steps replayed/
        var (all, crossing) = (0, 0)
        for file in try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
        where file.pathExtension == "log" {
            for match in try String(contentsOf: file, encoding: .utf8).matches(of: line) {
                guard let last = Int(match.1), let count = Int(match.2), count > 0 else { continue }
                all += 1
                if ends.contains(where: { last - count + 1 < $0 && $0 <= last }) { crossing += 1 }
            }
        }
        return (all, crossing)
    }

    private func show(_ report: ChaosReport, seconds: Double) {
        var table = TextTable(["what", "times"])
        for fault in ChaosFault.allCases {
            guard let count = report.faults[fault] else { continue }
            table.add([fault.rawValue, "\(count)" + (report.met[fault].map { ", \($0) met it" } ?? "")])
        }
        for change in ChaosChange.allCases {
            if let count = report.changes[change] { table.add([change.rawValue, "\(count)"]) }
        }
        Experiments.say("\n" + table.render())
        Experiments.say(
            "\(Units.fixed(seconds, 0)) s, faults from step \(report.steps.first) to \(report.steps.last), "
                + "\(report.owners.fewest) to \(report.owners.most) shards at a time")
        for ending in report.unexpected { Experiments.say("ended by itself: \(ending)") }
    }
}
