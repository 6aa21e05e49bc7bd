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

    @Option(help: "Seconds after which the run counts as stuck.")
    var patience = 900.0

    func run() throws {
        Experiments.say("seed \(seed)")
        let world = TrainingRun.World(shards: 2, workers: 2)
        let undisturbed = try training.undisturbed(world, seconds: 600)
        let directory = Experiments.directory("chaos-\(seed)")
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        // A log that is often too long: snapshots are taken all the time.
        cluster.shardArguments = ["--log-bytes", "2000000"]
        try cluster.start(
            configuration: training.configuration(),
            settings: [
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
        let difference = run.gap ?? run.difference(from: undisturbed)
        let missing = report.faultCount < faults ? "the run was over after \(report.faultCount) faults" : nil
        let crash = report.crashes.isEmpty ? nil : "crashed: \(report.crashes.joined(separator: ", "))"
        Experiments.say(
            "seed \(seed): \(report.faultCount) faults in \(run.losses.count) steps, "
                + (difference ?? crash ?? missing ?? "no gap, same losses, same hashes"))
        Experiments.say("hashes \(undisturbed.digest) undisturbed, \(run.digest) disturbed; logs in \(directory.path)")
        if difference ?? crash ?? missing != nil { throw ExitCode(1) }
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
