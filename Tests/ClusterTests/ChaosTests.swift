import ClusterHarness
import Foundation
import TestSupport
import Testing

/// A short version of `make chaos`.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ChaosTests {
    @Test func aBadDayLeavesNoTrace() throws {
        let undisturbed = try Undisturbed.run.get()
        let seed = ProcessInfo.processInfo.environment["CHAOS_SEED"].flatMap(UInt64.init) ?? .random(in: 0...1_000_000)
        print("CHAOS_SEED=\(seed)")
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            cluster.shardArguments = ["--log-bytes", "300000"]
            try cluster.start(
                configuration: Undisturbed.configuration(writeFolderDataset(to: directory)),
                settings: [
                    "checkpoint.directory=\(directory.appending(path: "checkpoints").path)",
                    "checkpoint.every_steps=50",
                    "checkpoint.keep=2",
                    // The supervisor itself sees to it that faults come before the end.
                    "cluster.pause_after=0",
                ], world: .init(shards: 2, workers: 2))
            let supervisor = ChaosSupervisor(
                cluster: cluster, options: .init(seed: seed, faults: 14, steps: Undisturbed.steps, lease: 1.5),
                say: { print($0) })
            let report = try supervisor.run(seconds: 240)
            let run = try TrainingRun(of: cluster)
            if let difference = run.gap ?? run.difference(from: undisturbed) {
                throw HarnessError("CHAOS_SEED=\(seed): \(difference)")
            }
            #expect(report.crashes.isEmpty, "CHAOS_SEED=\(seed)")
            #expect(report.faultCount > 5, "CHAOS_SEED=\(seed)")
        }
    }
}
