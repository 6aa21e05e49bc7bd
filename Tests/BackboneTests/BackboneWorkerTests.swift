import Determinism
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct BackboneWorkerTests {
    @Test func namedBackbonesRun() throws {
        for (name, channels, extent) in [("iresnet-small", 1, 32), ("iresnet-small", 3, 64), ("iresnet18", 3, 32)] {
            let configuration = try BackboneConfiguration.named(name, channels: channels, height: extent, width: extent)
            let worker = try BackboneWorker(
                configuration: configuration, microBatchSize: 2, blocks: ParallelBlocks(threads: 2))
            try worker.load(worker.layout.initialValues(in: 0..<worker.layout.count, seed: 1))
            let images = randomTensor([4, channels, extent, extent], seed: 1)
            let embeddings = try worker.forward(images: images)
            #expect(embeddings.shape == [4, configuration.embeddingSize])
            let (nodes, gradients) = try worker.backward(embeddings, microBatches: 2..<4, of: 4)
            #expect(nodes.array(Int32.self) == [1, 1] && gradients.shape == [1, worker.layout.count])
            #expect(gradients.array(Float.self).allSatisfy { $0.isFinite })
            #expect(worker.memoryBytes > 2 * worker.contextBytes && worker.contextBytes > 0)
        }
    }

    @Test func statisticsOfAMicroBatchAreMeanAndUnbiasedVariance() throws {
        let worker = try makeWorker(smallConfiguration(), microBatchSize: 4)
        let parameters = randomParameters(worker.layout, seed: 5).array(Float.self)
        let images = randomTensor([4, 3, 8, 8], seed: 1)
        _ = try worker.forward(images: images)
        let gradient = try worker.backward(randomTensor([4, 8], seed: 2), microBatches: 0..<1, of: 1).gradients.array(
            Float.self)
        // The first normalisation's input is the stem's output: channel 0, computed here.
        let weights = Array(parameters[try #require(worker.layout["conv1.weight"]).range][0..<27])
        let pixels = images.array(Float.self)
        var outputs: [Double] = []
        for n in 0..<4 {
            for y in 0..<8 {
                for x in 0..<8 {
                    var sum = 0.0
                    for c in 0..<3 {
                        for i in 0..<3 {
                            for j in 0..<3 where (0..<8).contains(y + i - 1) && (0..<8).contains(x + j - 1) {
                                sum +=
                                    Double(weights[(c * 3 + i) * 3 + j])
                                    * Double(pixels[((n * 3 + c) * 8 + y + i - 1) * 8 + x + j - 1])
                            }
                        }
                    }
                    outputs.append(sum)
                }
            }
        }
        let mean = outputs.reduce(0, +) / 256
        let variance = outputs.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 255
        #expect(abs(Double(gradient[try #require(worker.layout["bn1.running_mean"]).range.lowerBound]) - mean) < 1e-6)
        #expect(
            abs(Double(gradient[try #require(worker.layout["bn1.running_var"]).range.lowerBound]) / variance - 1) < 1e-5
        )
        #expect(gradient[try #require(worker.layout["features.weight"]).range].allSatisfy { $0 == 0 })
    }

    @Test func badCallsAreRefused() throws {
        func code(_ body: () throws -> Void) -> BackboneError.Code? {
            do {
                try body()
                return nil
            } catch { return (error as? BackboneError)?.code }
        }
        let blocks = ParallelBlocks(threads: 1)
        #expect(
            code { _ = try BackboneWorker(configuration: smallConfiguration(), microBatchSize: 1, blocks: blocks) }
                == .invalidConfiguration)
        #expect(
            code { _ = try BackboneWorker(configuration: smallConfiguration(), microBatchSize: 0, blocks: blocks) }
                == .invalidConfiguration)
        let empty = try BackboneWorker(configuration: smallConfiguration(), microBatchSize: 4, blocks: blocks)
        #expect(code { _ = try empty.forward(images: randomTensor([4, 3, 8, 8], seed: 1)) } == .wrongPhase)
        #expect(code { try empty.load(randomTensor([3], seed: 1)) } == .invalidPayload)
        let worker = try makeWorker(smallConfiguration())
        #expect(
            code { _ = try worker.backward(randomTensor([4, 8], seed: 1), microBatches: 0..<1, of: 1) } == .wrongPhase)
        #expect(code { _ = try worker.forward(images: randomTensor([6, 3, 8, 8], seed: 1)) } == .invalidInput)
        #expect(code { _ = try worker.forward(images: randomTensor([4, 8, 8, 3], seed: 1)) } == .invalidInput)
        #expect(
            code { _ = try worker.forward(images: Tensor(zeros: UInt8.self, shape: [4, 3, 8, 8])) } == .invalidInput)
        #expect(code { _ = try worker.embed(images: randomTensor([192], seed: 1)) } == .invalidInput)
        _ = try worker.forward(images: randomTensor([4, 3, 8, 8], seed: 1))
        #expect(
            code { _ = try worker.backward(randomTensor([4, 7], seed: 1), microBatches: 0..<1, of: 1) }
                == .invalidPayload)
        #expect(
            code { _ = try worker.backward(randomTensor([4, 8], seed: 1), microBatches: 0..<2, of: 2) } == .invalidInput
        )
        #expect(
            code { _ = try worker.backward(randomTensor([4, 8], seed: 1), microBatches: 1..<2, of: 1) } == .invalidInput
        )
        #expect(code { _ = try worker.backward(randomTensor([4, 8], seed: 1), microBatches: 0..<1, of: 1) } == nil)
    }

    @Test func instructionSetsHaveNames() throws {
        #expect(!InstructionSet.effective.isEmpty)
        #expect(throws: BackboneError.self) { try InstructionSet.pin("mmx") }
        try InstructionSet.pin("auto")
    }
}
