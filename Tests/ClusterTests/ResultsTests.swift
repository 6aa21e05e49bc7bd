import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// The end of a run: its results are written by whoever is there, and until then it is not finished.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ResultsTests {
    private func start(_ cluster: LocalCluster, _ directory: URL) throws {
        let data = try SyntheticData.writeFolder(to: directory, identities: 40)
        try cluster.start(
            configuration: folderTraining(data, steps: 6),
            settings: ["data.held_out_classes=28", "evaluation.held_out_pairs=200"],
            world: .init(shards: 1, workers: 2))
    }

    @Test func whatTheLastWorkersCouldNotWriteTheNextOneDoes() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            // A directory in the place of the file: nobody can write it, whoever is asked.
            let file = directory.appending(path: "backbone.safetensors")
            try FileManager.default.createDirectory(
                at: file.appending(path: "in the way"), withIntermediateDirectories: true)
            try start(cluster, directory)
            let stuck = try cluster.waitForStatus("the results cannot be written", seconds: 60) {
                $0.state == "finishing" && !$0.resultsProblem.isEmpty
            }
            #expect(stuck.resultsProblem.contains("backbone.safetensors"), "\(stuck.resultsProblem)")
            #expect(stuck.secondsLeft == nil && stuck.samplesPerSecond == nil, "nothing is left that has a speed")
            for worker in cluster.workers { worker.kill() }
            try cluster.restartCoordinator()
            try cluster.waitForStatus("a worker is waited for", seconds: 30) {
                $0.state == "finishing" && $0.reason.contains("waiting for a worker")
            }
            try FileManager.default.removeItem(at: file)
            let worker = try cluster.addWorker()
            try cluster.waitUntilFinished(seconds: 60)
            #expect(worker.waitUntilExit(seconds: 30))
            #expect(FileManager.default.fileExists(atPath: file.path))
            #expect(FileManager.default.fileExists(atPath: directory.appending(path: "roc.svg").path))
            let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
            #expect(!names.contains { $0.hasSuffix(".new") || $0.hasSuffix(".part") }, "\(names)")
            let evaluations = try cluster.status().evaluations
            #expect(evaluations.map(\.step) == [5])
            try cluster.restartCoordinator()
            #expect(try cluster.status().evaluations == evaluations, "they outlive the coordinator's process")
            let (code, text) = try cluster.run("status")
            #expect(code == 0 && text.contains("6 of 6 committed") && !text.contains("samples/s"), "\(text)")
        }
    }

    @Test func aShardThatCannotGoOnSaysWhy() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            let data = try writeFolderDataset(to: directory)
            try cluster.startCoordinator(
                configuration: folderTraining(data, steps: 6),
                settings: ["head.initial=/nowhere/rows.safetensors", "cluster.shards=1"])
            let shard = try cluster.addShard()
            let status = try cluster.waitForStatus("the shard has said why it goes", seconds: 30) {
                $0.shards.contains { $0.goodbye.contains("/nowhere/rows.safetensors") }
            }
            #expect(status.reason.contains("/nowhere/rows.safetensors"), "\(status.reason)")
            #expect(shard.waitUntilExit(seconds: 30))
            #expect(try cluster.run("events").text.contains("/nowhere/rows.safetensors"))
        }
    }
}
