import ClusterHarness
import Foundation
import TestSupport
import Testing

/// A training ends in the same bits whatever processes computed it, and whichever of them died.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct SameBitsTests {
    private func train(
        _ data: URL, _ directory: URL, _ world: TrainingRun.World, exchange: String = "features", steps: Int = 40,
        backbone: String = "", disturb: (LocalCluster) throws -> Void = { _ in }
    ) throws -> TrainingRun {
        try TrainingRun.run(
            configuration: folderTraining(data, steps: steps, exchange: exchange).replacing(
                "backbone: {", with: "backbone: {\(backbone)"), world: world,
            in: directory.appending(path: UUID().uuidString), seconds: 120, disturb: disturb)
    }

    @Test func worldsAndExchangesDoNotMatter() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let reference = try train(data, directory, .init(shards: 1, workers: 1))
            #expect(reference.gap == nil)
            #expect(reference.losses.count == 40)
            for (world, exchange) in [
                (TrainingRun.World(shards: 3, workers: 2), "features"),
                (.init(shards: 2, workers: 3, threads: 2), "features"),
                (.init(shards: 4, workers: 1, threads: 2), "rows"), (.init(shards: 1, workers: 5), "rows"),
            ] {
                let run = try train(data, directory, world, exchange: exchange)
                let difference = run.gap ?? run.difference(from: reference)
                #expect(difference == nil, "\(world), \(exchange)")
            }
        }
    }

    /// Masks of dropout, and what the first member's processor decides.
    @Test func dropoutAndComputeDoNotDependOnTheWorld() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let backbone = "dropout: 0.4, compute: auto, "
            let reference = try train(data, directory, .init(shards: 1, workers: 1), backbone: backbone)
            for world in [TrainingRun.World(shards: 2, workers: 3, threads: 2), .init(shards: 1, workers: 2)] {
                let run = try train(data, directory, world, backbone: backbone)
                let difference = run.gap ?? run.difference(from: reference)
                #expect(difference == nil, "\(world)")
            }
            let plain = try train(data, directory, .init(shards: 1, workers: 1))
            #expect(plain.difference(from: reference) != nil)
        }
    }

    /// Rows and gradients that are rounded on their way, each in the same manner whoever sends them.
    @Test func roundingOnTheWayDoesNotDependOnTheWorld() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let settings = "exchange_rows: int8, exchange_gradients: bf16"
            let reference = try train(data, directory, .init(shards: 1, workers: 1), exchange: "rows, \(settings)")
            for world in [TrainingRun.World(shards: 3, workers: 2), .init(shards: 2, workers: 3, threads: 2)] {
                let run = try train(data, directory, world, exchange: "rows, \(settings)")
                let difference = run.gap ?? run.difference(from: reference)
                #expect(difference == nil, "\(world)")
            }
            let exact = try train(data, directory, .init(shards: 1, workers: 1), exchange: "rows")
            #expect(exact.difference(from: reference) != nil)
        }
    }

    /// Gradients of the backbone that are rounded on their way and in the log, with a shard that does steps of its log again.
    @Test func theBackbonesGradientsInHalfTheBytes() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let backbone = "exchange_gradients: bf16, "
            let reference = try train(data, directory, .init(shards: 1, workers: 1), steps: 120, backbone: backbone)
            let world = TrainingRun.World(shards: 3, workers: 3, threads: 2)
            let run = try train(data, directory, world, steps: 120, backbone: backbone) { cluster in
                try cluster.waitUntil("some steps are committed", seconds: 60) { try cluster.committedStep() >= 20 }
                try cluster.restartShard(0)
            }
            #expect(run.difference(from: reference) == nil)
            let exact = try train(data, directory, .init(shards: 1, workers: 1), steps: 120)
            #expect(exact.difference(from: reference) != nil)
        }
    }

    @Test func aKilledWorkerLeavesNoTrace() throws {
        try withDirectory { directory in
            let data = try writeFolderDataset(to: directory)
            let world = TrainingRun.World(shards: 2, workers: 2)
            let reference = try train(data, directory, world, steps: 300)
            var killedAfter = -1
            let run = try train(data, directory, world, steps: 300) { cluster in
                try cluster.waitUntil("some steps are committed", seconds: 60) {
                    killedAfter = try cluster.committedStep()
                    return killedAfter >= 20
                }
                cluster.kill(cluster.workers[1])
                try cluster.addWorker()
            }
            #expect(killedAfter < 299, "the run was over before the worker was killed")
            let difference = run.gap ?? run.difference(from: reference)
            #expect(difference == nil, "killed after step \(killedAfter)")
        }
    }
}
