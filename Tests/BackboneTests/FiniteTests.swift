import Determinism
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct FiniteTests {
    @Test func aGradientThatIsNotFiniteNamesItsLayer() throws {
        let configuration = try BackboneConfiguration.named(
            "iresnet-small", channels: 1, height: 32, width: 32, embeddingSize: 8)
        let worker = try BackboneWorker(
            configuration: configuration, microBatchSize: 2, blocks: ParallelBlocks(threads: 1))
        try worker.load(worker.layout.initialValues(in: 0..<worker.layout.count, seed: 1))
        let images = Tensor((0..<2 * 1024).map { Float($0 % 7) / 7 }, shape: [2, 1, 32, 32])
        _ = try worker.forward(images: images)
        var gradient = [Float](repeating: 0.1, count: 16)
        gradient[3] = .nan
        let error = #expect(throws: BackboneError.self) {
            try worker.backward(Tensor(gradient, shape: [2, 8]), microBatches: 0..<1, of: 1)
        }
        #expect(error?.code == .nonFinite)
        // The first layer of the network gets it last, but it is the first one that is named.
        #expect(error?.message.contains("conv1.weight") == true)
    }

    @Test func theFirstSegmentIsFound() throws {
        let layout = try ParameterLayout(
            BackboneConfiguration.named("iresnet-small", channels: 1, height: 32, width: 32, embeddingSize: 8))
        let vector = layout.initialValues(in: 0..<layout.count, seed: 1)
        #expect(layout.firstNotFinite(in: vector) == nil)
        func poison(_ name: String, _ value: Float) throws {
            let segment = try #require(layout[name])
            withExtendedLifetime(vector) { vector.mutable(Float.self)[segment.range.upperBound - 1] = value }
        }
        // Frozen: what is in it is never used.
        try poison("features.weight", .nan)
        #expect(layout.firstNotFinite(in: vector) == nil)
        try poison("fc.bias", .infinity)
        #expect(layout.firstNotFinite(in: vector)?.name == "fc.bias")
        try poison("bn1.running_var", .nan)
        #expect(layout.firstNotFinite(in: vector)?.name == "bn1.running_var")
    }
}
