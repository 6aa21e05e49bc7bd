import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// Values of the head that change while the run goes on: by stages of the configuration, and by `coordinator set`.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct StagesTests {
    private static let steps = 240
    /// A stage ends after so many steps, in which the run pauses.
    private static let boundary = 120
    private static let stages =
        "schedule.stages=[{until: 0.25, m3: 0 to 0.2, sample_rate: 0.25}, {until: 0.5, sample_rate: 0, interclass_filter: 0.6}, "
        + "{until: 0.75, sample_rate: 1, scale: 8}, {m2: 0.1}]"

    private func train(
        _ data: URL, _ directory: URL, exchange: String = "features", settings: [String] = [stages],
        world: TrainingRun.World,
        pauseAfter: Int = 0, arguments: [String] = [], disturb: (LocalCluster) throws -> Void = { _ in }
    ) throws -> TrainingRun {
        try TrainingRun.run(
            configuration: folderTraining(
                data, steps: Self.steps, exchange: exchange, pauseAfter: pauseAfter),
            settings: settings + [
                "checkpoint.directory=\(directory.path)/checkpoints", "checkpoint.every_steps=50", "checkpoint.keep=0",
            ], arguments: arguments, world: world, in: directory, seconds: 180,
            disturb: disturb)
    }

    /// The first checkpoint of a run after a step.
    private func checkpoint(of run: URL, after step: Int) throws -> String {
        let checkpoints = run.appending(path: "checkpoints").path
        let names = try FileManager.default.contentsOfDirectory(atPath: checkpoints).sorted().filter { name in
            FileManager.default.fileExists(atPath: "\(checkpoints)/\(name)/manifest.json")
                && (Int(name.dropFirst(5)) ?? 0) > step
        }
        return try "\(checkpoints)/\(#require(names.first))"
    }

    /// kill -9 for all shards at once, and new processes.
    private func restartShards(_ cluster: LocalCluster) throws {
        for shard in cluster.shards { shard.kill() }
        for shard in cluster.shards { try shard.start() }
    }

    /// The values of the head in `metrics.jsonl`, by step.
    private func heads(in directory: URL) throws -> [ClusterStatus.Head] {
        struct Line: Decodable {
            var step: Int
            var learningRate: Float?
            var head: ClusterStatus.Head?
        }
        let text = try String(contentsOf: directory.appending(path: "metrics.jsonl"), encoding: .utf8)
        return try text.split(separator: "\n").compactMap {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8)).head
        }
    }

    @Test func stagesGiveTheSameBitsInAnyWorldAndAfterKillsAcrossABoundary() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let calm = try train(data, directory.appending(path: "calm"), world: .init(shards: 1, workers: 1))
            let heads = try heads(in: directory.appending(path: "calm"))
            #expect(heads.count == Self.steps)
            #expect(heads.map(\.sampleRate) == (0..<Self.steps).map { [0.25, 0, 1, 0.5][$0 / 60] })
            #expect(heads[0].m3 == 0 && heads[59].m3 == 0.2 && heads[60].m3 == 0.1 && heads[200].m2 == 0.1)
            let harmed = try train(
                data, directory.appending(path: "harmed"), world: .init(shards: 3, workers: 2),
                pauseAfter: Self.boundary + 5
            ) { cluster in
                // The logs reach back over the ends of two stages: nothing was snapshot yet.
                try cluster.waitForStatus("it pauses", seconds: 90) { $0.state == "paused" && $0.task == nil }
                try restartShards(cluster)
                try cluster.restartCoordinator()
                try cluster.waitForStatus("it pauses again", seconds: 90) { $0.state == "paused" && $0.task == nil }
                // Steps on both sides of the end of a stage are done again.
                _ = try cluster.query("restore", ["99"])
                try cluster.waitForStatus("it is back", seconds: 90) { $0.committed == 99 && $0.task == nil }
                _ = try cluster.query("resume")
                try cluster.waitForStatus("it pauses once more", seconds: 90) {
                    $0.state == "paused" && $0.committed == Self.boundary + 4
                }
                _ = try cluster.query("resume")
                try cluster.waitUntilCommitted(Self.boundary + 10)
                try restartShards(cluster)
            }
            #expect(harmed.gap == nil && harmed.difference(from: calm) == nil, "\(harmed.difference(from: calm) ?? "")")

            // The other exchange, in which workers compute with these values.
            let rows = try train(
                data, directory.appending(path: "rows"), exchange: "rows", world: .init(shards: 2, workers: 2))
            #expect(rows.difference(from: calm) == nil, "\(rows.difference(from: calm) ?? "")")

            // They matter, from the first step on.
            let plain = try train(
                data, directory.appending(path: "plain"), settings: [], world: .init(shards: 1, workers: 1))
            #expect(plain.losses[0].bits != calm.losses[0].bits && plain.hashes != calm.hashes)
            #expect(try self.heads(in: directory.appending(path: "plain")).isEmpty)

            // A new cluster goes on from a checkpoint in the middle of a stage.
            let resumed = try train(
                data, directory.appending(path: "resumed"), world: .init(shards: 2, workers: 1),
                arguments: ["--resume", try checkpoint(of: directory.appending(path: "calm"), after: 90)])
            #expect(resumed.hashes == calm.hashes)
        }
    }

    @Test func whatAnOperatorSetsBelongsToAStep() throws {
        func order(_ cluster: LocalCluster) throws {
            try cluster.waitForStatus("it pauses", seconds: 90) {
                $0.state == "paused" && $0.task == nil && $0.committed == Self.boundary - 1
            }
            let answer = try cluster.run("set", ["sample_rate=0.1", "m2=0.25"])
            #expect(answer.code == 0 && answer.text.contains("m2=0.25"), "\(answer.text)")
            #expect(answer.text.contains("from step \(Self.boundary) on"), "\(answer.text)")
        }
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let calm = try train(
                data, directory.appending(path: "calm"), settings: [], world: .init(shards: 1, workers: 1),
                pauseAfter: Self.boundary
            ) { cluster in
                try order(cluster)
                _ = try cluster.query("resume")
            }
            let harmed = try train(
                data, directory.appending(path: "harmed"), settings: [], world: .init(shards: 3, workers: 2),
                pauseAfter: Self.boundary
            ) { cluster in
                try order(cluster)
                try cluster.restartCoordinator()
                try cluster.waitForStatus("it pauses again", seconds: 90) { $0.state == "paused" && $0.task == nil }
                #expect(try cluster.status().headChanges?.map(\.fromStep) == [Self.boundary])
                _ = try cluster.query("resume")
                try cluster.waitUntilCommitted(Self.boundary + 8)
                try restartShards(cluster)
                // Back to before the change, which is made again at its step.
                _ = try cluster.query("restore", ["99"])
                try cluster.waitForStatus("it pauses at the same step again", seconds: 90) {
                    $0.state == "paused" && $0.committed == Self.boundary - 1
                }
                _ = try cluster.query("resume")
            }
            #expect(harmed.gap == nil && harmed.difference(from: calm) == nil, "\(harmed.difference(from: calm) ?? "")")
            let heads = try heads(in: directory.appending(path: "harmed"))
            // Lines say it once there is a change.
            #expect(heads.last?.sampleRate == 0.1 && heads.last?.m2 == 0.25, "\(heads.count)")

            let resumed = try train(
                data, directory.appending(path: "resumed"), settings: [], world: .init(shards: 2, workers: 1),
                arguments: ["--resume", try checkpoint(of: directory.appending(path: "calm"), after: Self.boundary)])
            #expect(resumed.hashes == calm.hashes)
        }
    }

    @Test func itIsShownAndWrongValuesAreRefused() throws {
        try withEndlessTraining(arguments: ["--http", "127.0.0.1:0"]) { cluster, _ in
            for wrong in [
                ["sample_rate=1.5"], ["m2=nan"], ["scale=0"], ["m4=1"], ["m2"], ["m2="], ["m2=*0.5"],
                ["m2=0.1", "m2=0.2"], ["m2=0.1", "lr=fast"], [],
            ] {
                let (code, text) = try cluster.run("set", wrong)
                #expect(code == 64, "\(wrong): \(text)")
            }
            #expect(try cluster.run("set", ["sample_rate=1.5"]).text.contains("0...1 is allowed"))
            #expect(
                try cluster.run("set", ["margin=1"]).text.contains(
                    "lr, sample_rate, m1, m2, m3, scale, interclass_filter can"))
            #expect(try cluster.status().headChanges?.isEmpty == true)
            #expect(try cluster.status().headVaries == false)

            let (code, text) = try cluster.run("set", ["m3=0.3", "lr=0.01"])
            #expect(code == 0 && text.contains("m3=0.3 from") && text.contains("learning rate 0.01 from"), "\(text)")
            try cluster.waitForStatus("it is in effect", seconds: 30) { $0.head?.m3 == 0.3 && $0.learningRate == 0.01 }
            let status = try cluster.run("status").text
            #expect(status.contains("head      sample rate 0.5, margins 1 0 0.3, scale 16"), "\(status)")
            #expect(status.contains("head set  m3=0.3 from step"), "\(status)")
            #expect(try cluster.run("events").text.contains("m3 0.3 (the configuration has 0.1) from step"))
            #expect(try cluster.run("set", ["m3=schedule"]).code == 0)
            try cluster.waitForStatus("the configuration's is back", seconds: 30) { $0.head?.m3 == 0.1 }
        }
    }
}
