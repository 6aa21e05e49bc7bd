import Cluster
import ClusterHarness
import Configuration
import Foundation
import Model
import ParameterStore
import PartialFC
import RunData
import Setup
import Tensors
import TestSupport
import Testing

/// The step on one page is the cluster's.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct LocalStepTests {
    private struct Hashes: Decodable { var slices: [Int: String] }

    /// The same training in this process: the bits of every step's loss, and a hash of every slice.
    private func train(_ text: String, _ exchange: Exchange) throws -> (losses: [String], slices: [Int: String]) {
        let configuration = try RunConfiguration(yaml: text).countingData().decided(like: nil)
        let setup = try RunSetup(configuration)
        let source = try StepSource(TrainingData(configuration), configuration, classes: setup.classes(after: []))
        var head = try LocalStep(setup.head, threads: 2)
        head.exchange = exchange
        let all = 0..<configuration.microBatchCount
        var losses: [String] = []
        for step in 0..<configuration.totalSteps {
            let batch = LocalStep.Batch(
                number: step, features: try source.inputs(step: step, microBatches: all),
                labels: try source.labels(step: step, microBatches: all).array(Int64.self),
                microBatchSize: configuration.batch.microBatch)
            let outputs = try head.train(batch, learningRate: Float(setup.schedule.rate(at: step)))
            let loss = outputs.flatMap(\.lossSums).reduce(0, +) / Double(configuration.batch.size)
            losses.append(String(loss.bitPattern, radix: 16))
        }
        return (losses, head.shards[0].sliceHashes())
    }

    @Test(arguments: Exchange.allCases) func theClusterGivesItsBits(exchange: Exchange) throws {
        try withDirectory { directory in
            let features = directory.appending(path: "features.safetensors")
            try SyntheticData.writeFeatures(to: features, samples: 96, size: 24, classes: 500, seed: 3)
            let text = """
                data: {kind: features, path: "\(features.path)", classes: 500}
                backbone: {name: none, embedding_size: 24}
                head: {scale: 16, m1: 1, m2: 0.3, m3: 0.1, sample_rate: 0.2, slices: 8, exchange: \(exchange)}
                batch: {size: 16, micro_batch: 4}
                schedule: {steps: 30, learning_rate: 0.1}
                evaluation: {held_out_pairs: 0}
                """
            let run = try TrainingRun.run(
                configuration: text, world: .init(shards: 3, workers: 2), in: directory, seconds: 120)
            let hashes = try JSONDecoder().decode(Hashes.self, from: Data(run.hashes.utf8))
            let (losses, slices) = try train(text, exchange)
            #expect(losses.count == 30 && losses == run.losses.map(\.bits))
            #expect(slices.count == 8 && slices == hashes.slices)
        }
    }
}
