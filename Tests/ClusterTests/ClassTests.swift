import ClusterHarness
import Foundation
import OperatorStatus
import Tensors
import TestSupport
import Testing

/// Identities come and go while a cluster trains.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ClassTests {
    /// Trains with classes that were added, retired and merged before the first step.
    private func train(
        _ data: URL, _ directory: URL, shards: Int, workers: Int, disturb: (LocalCluster) throws -> Void = { _ in }
    ) throws -> TrainingRun {
        let cluster = try LocalCluster(directory: directory.appending(path: UUID().uuidString))
        defer { cluster.stop() }
        try cluster.startCoordinator(
            configuration: Undisturbed.configuration(data), settings: ["cluster.shards=\(shards)"])
        for _ in 0..<shards { try cluster.addShard() }
        try cluster.waitForStatus("all shards have joined", seconds: 30) { $0.shards.count == shards }
        let rows = directory.appending(path: "rows.safetensors")
        try SafeTensors(tensors: [
            "centers": Tensor((0..<2 * 16).map { Float($0) / 100 }, shape: [2, 16])
        ]).write(to: rows.path)
        for order in [["add", "3"], ["add", "2", "--from", rows.path], ["retire", "4"], ["merge", "7", "2"]] {
            let (code, text) = try cluster.run("classes", order)
            #expect(code == 0, "\(text)")
        }
        try cluster.waitForStatus("four operations are applied", seconds: 30) { $0.classVersion == 4 }
        #expect(try cluster.status().classes == 17)
        for _ in 0..<workers { try cluster.addWorker() }
        try disturb(cluster)
        try cluster.waitUntilFinished(seconds: 120)
        return try TrainingRun(of: cluster)
    }

    @Test func changesAreReplayedLikeSteps() throws {
        let undisturbed = try Undisturbed.run.get()
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let calm = try train(data, directory, shards: 1, workers: 1)
            #expect(calm.gap == nil)
            #expect(calm.difference(from: undisturbed) != nil, "the operations changed nothing")
            let run = try train(data, directory, shards: 2, workers: 2) { cluster in
                try cluster.waitUntilInTheMiddle()
                cluster.killAll()
                try cluster.startCoordinator()
                for process in cluster.shards + cluster.workers { try process.start() }
            }
            #expect(run.gap == nil)
            #expect(run.difference(from: calm) == nil)
        }
    }

    @Test func theyCanChangeInTheMiddle() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.start(
                configuration: Undisturbed.configuration(writeFolderDataset(to: directory)),
                world: .init(shards: 2, workers: 2))
            try cluster.waitUntilInTheMiddle()
            #expect(try cluster.run("classes", ["add", "20"]).code == 0)
            #expect(try cluster.run("classes", ["retire", "1,3"]).code == 0)
            try cluster.waitForStatus("both are applied", seconds: 30) { $0.classVersion == 2 }
            try cluster.restartShard(1)
            let refused = try cluster.run("classes", ["retire", "1000"])
            #expect(refused.code != 0)
            #expect(refused.text.contains("1000"), "\(refused.text)")
            try cluster.waitUntilFinished(seconds: 120)
            #expect(try TrainingRun(of: cluster).gap == nil)
            #expect(try cluster.run("classes", ["list"]).text.contains("20"))
            // Those that are retired are no match for anybody.
            let files = directory.appending(path: "files")
            let (code, text) = try cluster.run("export", [files.path, "--int8"])
            #expect(code == 0, "\(text)")
            let centers = try SafeTensorsFile(files.appending(path: "centers-int8.safetensors").path)
            let labels = try centers.tensor(centers.entry("labels", .i64)).array(Int64.self)
            #expect(labels == (0..<32).filter { $0 != 1 && $0 != 3 })
            #expect(try centers.signedBytes("features").shape == [30, 16])
        }
    }

    /// Rows that no shard can take: the coordinator looks at their shape alone, so this is found where they are read.
    @Test func anOrderThatShardsCannotFollowIsRefused() throws {
        try withEndlessTraining(shards: 2) { cluster, directory in
            let rows = directory.appending(path: "rows.safetensors")
            try SafeTensors(tensors: [
                "centers": Tensor((0..<2 * 16).map { $0 == 20 ? Float.nan : 1 }, shape: [2, 16])
            ]).write(to: rows.path)
            let (code, text) = try cluster.run("classes", ["add", "2", "--from", rows.path])
            #expect(code == 65, "\(text)")
            #expect(text.contains("shard-0") && text.contains("shard-1") && text.contains("not finite"), "\(text)")
            let step = try cluster.committedStep()
            try cluster.waitUntilCommitted(step + 5)
            #expect(try cluster.status().classVersion == 0)
            #expect(try cluster.run("cancel").code == 65, "nothing is under way")
        }
    }

    /// More classes in one order than fit into a message one by one.
    @Test func manyClassesAreOneRange() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            let data = directory.appending(path: "f.safetensors")
            try SyntheticData.writeFeatures(to: data, samples: 256, size: 8, classes: 64, seed: 1)
            try cluster.start(
                configuration: """
                    data: {kind: features, path: "\(data.path)", classes: 200000}
                    backbone: {name: none, embedding_size: 8}
                    head: {sample_rate: 0.001, slices: 4}
                    batch: {size: 16, micro_batch: 16}
                    schedule: {steps: 100000}
                    """, world: .init(shards: 1, workers: 1))
            let (code, text) = try cluster.run("classes", ["retire", "1000-150999"])
            #expect(code == 0, "\(text)")
            try cluster.waitForStatus("it is applied", seconds: 60) { $0.classVersion == 1 }
            try cluster.waitUntilCommitted(try cluster.committedStep() + 5)
            let worker = try cluster.addWorker()
            #expect(try cluster.run("classes", ["list"]).text.contains("150000 of them retired"))
            try cluster.waitForStatus("a new worker computes with them", seconds: 60) {
                $0.workers.count { $0.rank != nil } == 2
            }
            #expect(worker.isRunning)
        }
    }
}
