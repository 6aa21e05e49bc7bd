import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// `coordinator set lr=…`: the change belongs to a step, whatever happens to the processes.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct LearningRateTests {
    private static let steps = 400
    /// Every run pauses after so many steps, so that all are changed at the same one.
    private static let before = 40

    /// Trains with a change at step `before`.
    ///
    /// - Parameter disturb: called while the run is paused and changed.
    private func train(
        in directory: URL, world: TrainingRun.World, disturb: (LocalCluster) throws -> Void
    ) throws -> (run: TrainingRun, rates: [Float]) {
        let data = try writeFolderDataset(to: directory)
        let run = try TrainingRun.run(
            configuration: folderTraining(data, steps: Self.steps, pauseAfter: Self.before),
            settings: [
                "checkpoint.directory=\(directory.path)/checkpoints", "checkpoint.every_steps=20", "checkpoint.keep=0",
            ], world: world, in: directory, seconds: 180
        ) { cluster in
            try waitForThePause(cluster, after: Self.before - 1)
            let answer = try cluster.object("set", ["lr=*0.25"])
            let changes = try #require(answer["learningRateChanges"] as? [[String: Any]])
            #expect(changes.count == 1 && changes[0]["fromStep"] as? Int == Self.before, "\(changes)")
            try disturb(cluster)
        }
        return (run, try rates(in: directory))
    }

    private func waitForThePause(_ cluster: LocalCluster, after step: Int) throws {
        try cluster.waitForStatus("it pauses after step \(step)", seconds: 60) {
            $0.state == "paused" && $0.task == nil && $0.committed == step
        }
    }

    /// The learning rates in `metrics.jsonl`, by step.
    private func rates(in directory: URL) throws -> [Float] {
        struct Line: Decodable {
            var step: Int
            var learningRate: Float?
        }
        let text = try String(contentsOf: directory.appending(path: "metrics.jsonl"), encoding: .utf8)
        let lines = try text.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
        return lines.compactMap(\.learningRate)
    }

    @Test func theSameChangeAtTheSameStepGivesTheSameBits() throws {
        try withDirectory { directory in
            let (small, large) = (TrainingRun.World(shards: 1, workers: 1), TrainingRun.World(shards: 3, workers: 2))
            let (calm, rates) = try train(in: directory.appending(path: "calm"), world: small) {
                _ = try $0.query("resume")
            }
            let (harmed, others) = try train(in: directory.appending(path: "harmed"), world: large) { cluster in
                // A coordinator that dies before the change takes effect, and after it.
                try cluster.restartCoordinator()
                try waitForThePause(cluster, after: Self.before - 1)
                #expect(try cluster.status().learningRateChanges.map(\.fromStep) == [Self.before])
                _ = try cluster.query("resume")
                try cluster.waitUntilCommitted(Self.before + 5)
                try cluster.restartCoordinator()
                try cluster.restartShard(1)
                // Whatever step that is: back to before the change, which is made again at its step.
                _ = try cluster.query("restore", ["\(Self.before - 1)"])
            }
            #expect(harmed.gap == nil && harmed.difference(from: calm) == nil, "\(harmed.difference(from: calm) ?? "")")
            #expect(rates == others && rates.count == Self.steps)

            // The schedule up to the change, a quarter of it from there on.
            let undisturbed = directory.appending(path: "undisturbed")
            let plain = try TrainingRun.run(
                configuration: folderTraining(try writeFolderDataset(to: undisturbed), steps: Self.steps),
                world: .init(shards: 1, workers: 1), in: undisturbed, seconds: 180)
            let schedule = try self.rates(in: undisturbed)
            for step in 0..<Self.steps {
                #expect(rates[step] == schedule[step] * (step < Self.before ? 1 : 0.25), "step \(step)")
            }
            #expect(
                plain.losses.prefix(Self.before + 1).map(\.bits) == calm.losses.prefix(Self.before + 1).map(\.bits))
            #expect(plain.hashes != calm.hashes)

            // A new cluster that begins with a checkpoint from after the change goes on in the same way.
            let checkpoints = directory.appending(path: "calm/checkpoints").path
            let names = try FileManager.default.contentsOfDirectory(atPath: checkpoints).sorted().filter { name in
                FileManager.default.fileExists(atPath: "\(checkpoints)/\(name)/manifest.json")
                    && (Int(name.dropFirst(5)) ?? 0) > Self.before
            }
            let checkpoint = try "\(checkpoints)/\(#require(names.first))"
            let resumed = try TrainingRun.run(
                configuration: folderTraining(
                    directory.appending(path: "calm/data"), steps: Self.steps, pauseAfter: Self.before),
                arguments: ["--resume", checkpoint], world: .init(shards: 2, workers: 1),
                in: directory.appending(path: "resumed"), seconds: 120)
            #expect(resumed.hashes == calm.hashes)
        }
    }

    @Test func itIsShownAndWrongValuesAreRefused() throws {
        try withEndlessTraining(arguments: ["--http", "127.0.0.1:0"]) { cluster, _ in
            for wrong in ["lr=-1", "lr=nan", "lr=*inf", "lr=fast", "lr", "lr=", "momentum=0.5"] {
                let (code, text) = try cluster.run("set", [wrong])
                #expect(code == 64, "\(wrong): \(text)")
            }
            #expect(try cluster.run("set", ["lr=-1"]).text.contains("must be a finite number from 0 up"))
            #expect(try cluster.status().learningRateChanges.isEmpty)

            // While it trains, from the next step on.
            let (code, text) = try cluster.run("set", ["lr=0.01"])
            #expect(code == 0 && text.contains("learning rate 0.01 from"), "\(text)")
            try cluster.waitForStatus("it is in effect", seconds: 30) { $0.learningRate == 0.01 }
            let status = try cluster.run("status").text
            #expect(status.contains("rate set  0.01 from step"), "\(status)")
            #expect(try cluster.run("events").text.contains("learning rate 0.01 from step"))

            // One that is far too large is taken, with a warning.
            #expect(try cluster.run("set", ["lr=*20"]).code == 0)
            try cluster.waitForStatus("the warning is there", seconds: 30) { _ in
                try cluster.run("events").text.contains("more than ten times as large")
            }
            #expect(try cluster.run("set", ["lr=schedule"]).code == 0)
            try cluster.waitForStatus("the schedule is back", seconds: 30) {
                $0.learningRateChanges.last?.rule == "schedule" && $0.learningRateChanges.last?.fromStep != nil
            }
        }
    }
}
