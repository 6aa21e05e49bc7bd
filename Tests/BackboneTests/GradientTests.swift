import Foundation
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct GradientTests {
    /// The derivative along a random direction in every trained tensor, by central differences, against the gradient.
    /// All layers behind a tensor take part in its gradient, so this covers the gradients of inputs too.
    @Test(arguments: [
        smallConfiguration(), smallConfiguration(channels: 1, height: 8, width: 12),
        smallConfiguration(channels: 1, height: 7, width: 9),
        BackboneConfiguration(
            name: "narrow", depths: [1, 2], widths: [5, 7], strides: [1, 2], stemWidth: 5, inputChannels: 2,
            inputHeight: 6, inputWidth: 4, embeddingSize: 3),
    ])
    func everyLayerAgreesWithFiniteDifferences(configuration: BackboneConfiguration) throws {
        let batch = 8
        let layout = try ParameterLayout(configuration)
        let worker = try makeWorker(configuration, microBatchSize: batch)
        let images = randomTensor(
            [batch, configuration.inputChannels, configuration.inputHeight, configuration.inputWidth], seed: 1)
        let upstream = randomTensor([batch, configuration.embeddingSize], seed: 2)
        let parameters = randomParameters(layout, seed: 5)
        // Nearly straight PReLUs: a difference quotient across a sharp bend says little. The other test has sharp ones.
        for segment in layout.segments where segment.name.hasSuffix("prelu.weight") {
            for i in segment.range { parameters.mutable(Float.self)[i] += 0.7 }
        }
        try worker.load(parameters)
        _ = try worker.forward(images: images)
        let gradient = try worker.backward(upstream, microBatches: 0..<1, of: 1).gradients.array(Float.self)
        for segment in layout.segments where segment.kind == .parameter {
            let direction = randomTensor([segment.range.count], seed: UInt64(segment.index) + 100).array(Float.self)
            let size = parameters.array(Float.self)[segment.range].map { Double($0) * Double($0) }.reduce(0, +)
                .squareRoot()
            let length = direction.map { Double($0) * Double($0) }.reduce(0, +).squareRoot()
            let step = 8e-3 * max(size, 1) / length
            func loss(_ signedStep: Double) throws -> Double {
                let moved = Tensor(parameters.array(Float.self))
                let values = moved.mutable(Float.self)
                for (i, element) in segment.range.enumerated() { values[element] += Float(signedStep) * direction[i] }
                try worker.load(moved)
                return dot(try worker.forward(images: images), upstream)
            }
            // Two step lengths, extrapolated to 0 (Richardson).
            let wide = (try loss(step) - loss(-step)) / (2 * step)
            let narrow = (try loss(step / 2) - loss(-step / 2)) / step
            let difference = (4 * narrow - wide) / 3
            var exact = 0.0
            var norm = 0.0
            for (i, element) in segment.range.enumerated() {
                exact += Double(gradient[element]) * Double(direction[i])
                norm += Double(gradient[element]) * Double(gradient[element])
            }
            // The bias in front of a batch normalisation has no influence: there the gradient is rounding noise.
            let scale = max(abs(exact), norm.squareRoot() * length / Double(direction.count).squareRoot(), 0.2)
            #expect(
                abs(difference - exact) < 0.04 * scale,
                "\(segment.name): difference quotient \(difference), gradient \(exact)")
        }
    }

    /// The figures of Reference/make_reference.py, which computes in double precision with code of its own.
    @Test func wholeNetworkAgreesWithNumPy() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Reference/network.safetensors").path
        let file = try SafeTensors(contentsOf: path)
        let layout = try ParameterLayout(smallConfiguration())
        let parameters = Tensor(zeros: Float.self, shape: [layout.count])
        for segment in layout.segments {
            let values = try file.tensor("parameters/\(segment.name)", .f32, in: path)
            #expect(values.shape == segment.shape)
            let target = parameters.mutable(Float.self)
            for (i, element) in segment.range.enumerated() { target[element] = values.array(Float.self)[i] }
        }
        let worker = try makeWorker(smallConfiguration(), parameters: parameters)
        let images = try file.tensor("images", .f32, in: path)
        let embeddings = try worker.forward(images: images)
        let expected = try file.tensor("embeddings", .f32, in: path)
        #expect(relativeError(embeddings.array(Float.self), expected.array(Float.self)) < 2e-6)
        let upstream = try file.tensor("embedding_gradient", .f32, in: path)
        let gradient = try worker.backward(upstream, microBatches: 0..<1, of: 1).gradients.array(Float.self)
        for segment in layout.segments where segment.kind != .frozen {
            let reference = try file.tensor("gradients/\(segment.name)", .f32, in: path).array(Float.self)
            if reference.allSatisfy({ abs($0) < 1e-9 }) {
                // Zero in theory, for example a bias that only normalisations see.
                #expect(gradient[segment.range].allSatisfy { abs($0) < 2e-5 }, "\(segment.name)")
            } else {
                let error = relativeError(gradient[segment.range], reference)
                #expect(error < 2e-5, "\(segment.name): \(error)")
            }
        }
        let inference = try worker.embed(images: images)
        let expectedInference = try file.tensor("inference", .f32, in: path)
        #expect(relativeError(inference.array(Float.self), expectedInference.array(Float.self)) < 2e-6)
    }
}
