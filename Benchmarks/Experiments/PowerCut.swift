import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments power-cut`.
struct PowerCut: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cut the power of a cluster's disk again and again: what is lost, and whether the bits are the same.",
        discussion: """
            The shards' directories, the coordinator's decisions and the metrics are on a file system in a file, which is shut down \
            without writing anything more; then every process is killed, the file system is mounted again, and all are started. \
            Only as root.
            """)

    @Option(help: "Power cuts of each kind.")
    var rounds = 20

    @Option(help: "Steps of a run for each cut; the cut comes after a random part of them.")
    var stepsPerRound = 200

    @Option(help: "Where the random parts come from.")
    var seed = UInt64.random(in: 0...1_000_000)

    @Option(parsing: .upToNextOption, help: "File systems: ext4, xfs.")
    var fileSystems = LoopDisk.Kind.allCases.map(\.rawValue)

    @Option(parsing: .upToNextOption, help: "When logs are synced: always, interval, never.")
    var sync = ["always", "interval"]

    @Option(help: "Seconds after which a run counts as stuck.")
    var patience = 300.0

    private static let world = TrainingRun.World(shards: 2, workers: 1)

    /// What the cuts of one kind have cost.
    private struct Loss {
        var rounds = 0
        /// Steps that were committed and had to be done again, in all and of the worst round.
        var redone = 0
        var worst = 0
        /// Rounds in which a torn tail was cut off, and steps whose figures are lost.
        var tails = 0
        var lostLines = 0
        var problem: String?
    }

    func run() throws {
        if let problem = LoopDisk.problem {
            Experiments.say("skipped: \(problem)")
            return
        }
        Experiments.say("seed \(seed), \(rounds) rounds each")
        let steps = (rounds + 1) * stepsPerRound
        let directory = Experiments.directory("power-cut")
        let undisturbed = try TrainingRun.run(
            configuration: configuration(steps, directory), world: Self.world,
            in: directory.appending(path: "undisturbed"), seconds: patience * 4)
        Experiments.say("undisturbed: \(undisturbed.losses.count) steps, hashes \(undisturbed.digest)")
        var table = TextTable([
            "file system", "sync", "cuts", "steps done again", "worst", "torn tails", "figures lost", "result",
        ])
        var hasFailed = false
        for name in fileSystems {
            guard let kind = LoopDisk.Kind(rawValue: name) else { throw ValidationError("\(name) is no file system") }
            for mode in sync {
                var loss = Loss()
                do {
                    try cut(kind, mode, steps, directory.appending(path: "\(name)-\(mode)"), undisturbed, &loss)
                } catch { loss.problem = "\(error)" }
                hasFailed = hasFailed || loss.problem != nil
                table.add([
                    name, mode, "\(loss.rounds)", "\(loss.redone)", "\(loss.worst)", "\(loss.tails)",
                    "\(loss.lostLines)", loss.problem ?? "same losses, same hashes",
                ])
                Experiments.say("\(name), \(mode): \(loss.problem ?? "done")")
            }
        }
        Experiments.say("\n" + table.render() + "\nlogs in \(directory.path)")
        if hasFailed { throw ExitCode(1) }
    }

    private func configuration(_ steps: Int, _ directory: URL) throws -> String {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let path = directory.appending(path: "features.safetensors")
        if !FileManager.default.fileExists(atPath: path.path) {
            try SyntheticData.writeFeatures(to: path, samples: 1024, size: 64, classes: 512, seed: 1)
        }
        return """
            data: {kind: features, path: "\(path.path)", classes: 512}
            backbone: {name: none, embedding_size: 64}
            head: {scale: 64, m1: 1, m2: 0, m3: 0.4, sample_rate: 0.5, slices: 8, exchange: features}
            batch: {size: 64, micro_batch: 16}
            schedule: {steps: \(steps), learning_rate: 0.1}
            evaluation: {held_out_pairs: 0}
            cluster: {lease_seconds: 5}
            """
    }

    private func cut(
        _ kind: LoopDisk.Kind, _ sync: String, _ steps: Int, _ directory: URL, _ undisturbed: TrainingRun,
        _ loss: inout Loss
    ) throws {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let disk = try LoopDisk(kind, in: directory)
        defer { disk.remove() }
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.killAll() }
        let output = disk.path.appending(path: "output")
        try cluster.startCoordinator(
            configuration: configuration(steps, directory),
            settings: ["output=\(output.path)", "cluster.shards=\(Self.world.shards)", "cluster.workers=1"],
            arguments: ["--state", disk.path.appending(path: "state").path])
        for index in 0..<Self.world.shards {
            // Snapshots are taken all the time.
            try cluster.addShard(
                directory: disk.path.appending(path: "shard-\(index)"),
                arguments: ["--sync", sync, "--log-bytes", "300000"])
        }
        try cluster.addWorker()
        var random = SystemRandom(seed: seed)
        for round in 0..<rounds {
            let begin = try cluster.status().committed
            let span = stepsPerRound / 3 + random.below(stepsPerRound * 2 / 3)
            try cluster.waitForStatus("\(span) steps of round \(round) are done", seconds: patience) {
                $0.committed >= begin + span
            }
            let before = try cluster.status()
            try disk.cutPower()
            for process in cluster.processes { process.kill() }
            try disk.restorePower()
            try cluster.startCoordinator()
            for process in cluster.shards + cluster.workers { try process.start() }
            let after = try cluster.waitForStatus("round \(round) goes on", seconds: patience) {
                $0.state == "training" || $0.state == "finished"
            }
            loss.rounds += 1
            // It may have done some steps again by now.
            let redone = max(0, before.committed - after.committed)
            loss.redone += redone
            loss.worst = max(loss.worst, redone)
            loss.tails +=
                try cluster.run("events").text.split(separator: "\n").contains { $0.contains("unfinished write") }
                ? 1 : 0
            Experiments.note(
                "\(kind) \(sync) round \(round): cut after step \(before.committed) (safe \(before.safe)), on after step \(after.committed)"
            )
        }
        try cluster.waitUntilFinished(seconds: patience * 2)
        let metrics = directory.appending(path: "metrics.jsonl")
        try? FileManager.default.removeItem(at: metrics)
        try FileManager.default.copyItem(at: output.appending(path: "metrics.jsonl"), to: metrics)
        let run = try TrainingRun(of: cluster)
        try compare(run, undisturbed, metrics, &loss)
    }

    /// Every step has a line, with the same loss or the word that it is lost.
    private func compare(
        _ run: TrainingRun, _ undisturbed: TrainingRun, _ metrics: URL, _ loss: inout Loss
    ) throws {
        struct Line: Decodable {
            var step: Int
            var lost: Bool?
        }
        let lines = try String(contentsOf: metrics, encoding: .utf8).split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
        loss.lostLines = lines.count { $0.lost == true }
        let expected = Dictionary(uniqueKeysWithValues: undisturbed.losses.map { ($0.step, $0.bits) })
        if let gap = lines.enumerated().first(where: { $0.offset != $0.element.step }) {
            loss.problem = "line \(gap.offset) of the metrics is of step \(gap.element.step)"
        } else if let other = run.losses.first(where: { expected[$0.step] != $0.bits }) {
            loss.problem = "step \(other.step) has another loss"
        } else if run.losses.count + loss.lostLines != undisturbed.losses.count {
            loss.problem = "\(run.losses.count) steps"
        } else if run.hashes != undisturbed.hashes {
            loss.problem = "the hashes differ"
        }
    }

    /// Numbers of a seed (SplitMix64).
    private struct SystemRandom {
        var state: UInt64

        init(seed: UInt64) { state = seed }

        mutating func below(_ bound: Int) -> Int {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return Int((value ^ (value >> 31)) % UInt64(max(1, bound)))
        }
    }
}
