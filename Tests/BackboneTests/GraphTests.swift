import Determinism
import Foundation
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct GraphTests {
    /// Counts that PyTorch gives for InsightFace's `mobilefacenet.py`.
    @Test(arguments: [("mbf", 2_059_520), ("mbf_large", 6_314_880)])
    func insightFaceParameterCounts(name: String, count: Int) throws {
        #expect(try ParameterLayout(.named(name)).parameterCount == count)
    }

    @Test func namesAndOrderOfMobileFaceNetAreInsightFaces() throws {
        let layout = try ParameterLayout(.named("mbf"))
        let names = layout.segments.map(\.name)
        #expect(
            Array(names.prefix(6)) == [
                "layers.0.layers.0.weight", "layers.0.layers.1.weight", "layers.0.layers.1.bias",
                "layers.0.layers.1.running_mean", "layers.0.layers.1.running_var", "layers.0.layers.2.weight",
            ])
        #expect(layout["layers.1.layers.0.weight"]?.shape == [128, 2, 3, 3])
        #expect(layout["layers.3.layers.2.layers.1.layers.0.weight"]?.shape == [128, 1, 3, 3])
        #expect(layout["features.layers.0.layers.0.weight"]?.shape == [512, 1, 7, 7])
        #expect(layout["features.layers.2.weight"]?.shape == [512, 512])
        #expect(layout["features.layers.2.bias"] == nil)
        #expect(names.last == "features.layers.3.running_var")
        let large = try ParameterLayout(.named("mbf_large"))
        #expect(large["layers.1.layers.1.layers.1.layers.0.weight"]?.shape == [128, 1, 3, 3])
    }

    @Test func insightFacesShortNamesAreTheSameNetworks() throws {
        #expect(try BackboneConfiguration.named("r50") == .named("iresnet50"))
        #expect(try ParameterLayout(.named("r200")).parameterCount == 118_833_920)
    }

    @Test func frozenParametersGetNoGradientAndTheOthersKeepTheirs() throws {
        let configuration = smallConfiguration()
        let frozen = try ParameterLayout(
            configuration, frozen: ["conv1.weight", "layer1.*bn*.bias", "*.prelu.weight", "fc.*"])
        #expect(frozen["conv1.weight"]?.kind == .frozen && frozen["layer1.1.bn2.bias"]?.kind == .frozen)
        #expect(frozen["bn1.bias"]?.kind == .parameter && frozen["layer1.0.bn2.running_mean"]?.kind == .statistic)
        let images = randomTensor([4, 3, 8, 8], seed: 1)
        let upstream = randomTensor([4, configuration.embeddingSize], seed: 2)
        func gradient(_ layout: ParameterLayout) throws -> [Float] {
            let worker = try BackboneWorker(layout: layout, microBatchSize: 4, blocks: ParallelBlocks(threads: 1))
            try worker.load(randomParameters(ParameterLayout(configuration), seed: 5))
            _ = try worker.forward(images: images)
            return try worker.backward(upstream, microBatches: 0..<1, of: 1).gradients.array(Float.self)
        }
        let (all, some) = (try gradient(ParameterLayout(configuration)), try gradient(frozen))
        for segment in frozen.segments {
            #expect(
                segment.kind == .frozen
                    ? some[segment.range].allSatisfy { $0 == 0 } : some[segment.range] == all[segment.range],
                "\(segment.name)")
        }
        #expect(throws: BackboneError.self) { try ParameterLayout(configuration, frozen: ["layer9.*"]) }
    }

    /// What lies before the last trained parameter needs no gradient: its statistics are there all the same.
    @Test func onlyTheHeadOfANetworkCanBeTrained() throws {
        let layout = try ParameterLayout(smallConfiguration(), frozen: ["conv1*", "bn*", "prelu*", "layer*"])
        let worker = try BackboneWorker(layout: layout, microBatchSize: 4, blocks: ParallelBlocks(threads: 1))
        try worker.load(randomParameters(layout, seed: 5))
        _ = try worker.forward(images: randomTensor([4, 3, 8, 8], seed: 1))
        let gradient = try worker.backward(randomTensor([4, 8], seed: 2), microBatches: 0..<1, of: 1).gradients
            .array(Float.self)
        for segment in layout.segments {
            let isZero = gradient[segment.range].allSatisfy { $0 == 0 }
            #expect(isZero == (segment.kind == .frozen), "\(segment.name)")
        }
    }

    @Test func aNodeThatDoesNotFitIsNamed() throws {
        var net = try GraphBuilder(name: "net", input: [3, 8, 8])
        let weight = net.parameter("w", [4, 2, 3, 3])
        let error = #expect(throws: BackboneError.self) {
            try net.add(
                "first",
                .convolution(
                    .init(
                        weight: weight, bias: nil, strides: .init(1), padding: .init(1), dilation: .init(1), groups: 1)),
                .input)
        }
        #expect(error?.message.contains("net: convolution first: a weight of [4, 2, 3, 3]") == true)
        #expect(throws: BackboneError.self) { try net.add("r", .reshape([7]), .input) }
        #expect(throws: BackboneError.self) { try net.add("t", .transpose([0, 0, 1]), .input) }
        #expect(throws: BackboneError.self) { try net.add("s", .slice(axis: 0, range: 1..<4), .input) }
        #expect(throws: BackboneError.self) { try net.add("c", .concatenation(axis: 3), .input, .input) }
        #expect(throws: BackboneError.self) { try net.add("m", .matrixProduct, .input) }
        #expect(throws: BackboneError.self) { try GraphBuilder(name: "huge", input: [1 << 20, 1 << 20]) }
    }

    @Test func windowsRoundAsPyTorchsDo() throws {
        var net = try GraphBuilder(name: "net", input: [1, 8, 7])
        let pooling = Graph.Pooling(kind: .maximum, kernel: .init(3), strides: .init(2), padding: .zero, roundsUp: true)
        let up = try net.add("up", .pooling(pooling), .input)
        #expect(net.shape(of: up) == [1, 4, 3])
        var floor = pooling
        floor.roundsUp = false
        let down = try net.add("down", .pooling(floor), .input)
        #expect(net.shape(of: down) == [1, 3, 3])
        // A last window that would start in the padding is left out.
        var padded = Graph.Pooling(kind: .average, kernel: .init(2), strides: .init(3), padding: .init(1))
        padded.roundsUp = true
        let last = try net.add("padded", .pooling(padded), .input)
        #expect(net.shape(of: last) == [1, 3, 3])
    }

    /// Figures of Reference/make_mobilefacenet.py: PyTorch, in double precision.
    @Test func mobileFaceNetAgreesWithPyTorch() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Reference/mobilefacenet.txt")
        var figures: [String: [Double]] = [:]
        for line in try String(contentsOf: path, encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words[0] != "count" { figures[String(words[0])] = words.dropFirst().compactMap { Double($0) } }
        }
        var configuration = try BackboneConfiguration.named("mbf", height: 32, width: 32, embeddingSize: 16)
        configuration.depths = [1, 1, 1, 1]
        func noise(_ count: Int, _ phase: Double) -> [Double] {
            (0..<count).map {
                let x = sin(12.9898 * Double($0) + phase) * 43758.5453
                return 2 * (x - x.rounded(.down)) - 1
            }
        }
        let layout = try ParameterLayout(configuration)
        let parameters = Tensor(zeros: Float.self, shape: [layout.count])
        for segment in layout.segments {
            let width = Double(segment.shape.dropFirst().reduce(1, *)).squareRoot()
            for (element, value) in zip(segment.range, noise(segment.range.count, Double(segment.index))) {
                let (isMatrix, name) = (segment.shape.count > 1, segment.name)
                parameters.mutable(Float.self)[element] = Float(
                    name.hasSuffix("running_var")
                        ? 1 + 0.5 * value
                        : isMatrix ? value / width : name.hasSuffix("weight") ? 0.8 + 0.4 * value : 0.3 * value)
            }
        }
        let worker = try makeWorker(configuration, parameters: parameters)
        let images = Tensor(noise(4 * 3 * 32 * 32, 0.5).map { Float($0) }, shape: [4, 3, 32, 32])
        func error(_ a: some Collection<Float>, _ name: String) throws -> Double {
            relativeError(a, try #require(figures[name]).map { Float($0) })
        }
        #expect(try error(worker.embed(images: images).array(Float.self), "inference") < 2e-5)
        #expect(try error(worker.forward(images: images).array(Float.self), "embeddings") < 2e-5)
        let upstream = Tensor(noise(4 * 16, 0.25).map { Float($0) }, shape: [4, 16])
        let gradient = try worker.backward(upstream, microBatches: 0..<1, of: 1).gradients.array(Float.self)
        for segment in layout.segments where segment.kind == .parameter {
            let figure = try #require(figures[segment.name])
            let values = gradient[segment.range]
            let norm = values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
            #expect(
                abs(norm - figure[0]) < 1e-3 * figure[0] + 1e-4, "\(segment.name): norm \(norm), PyTorch \(figure[0])")
            let step = max(1, values.count / 4)
            for (position, expected) in figure.dropFirst().enumerated() {
                let value = Double(values[values.startIndex + position * step])
                #expect(
                    abs(value - expected) < 2e-3 * figure[0] + 1e-4,
                    "\(segment.name) \(position): \(value), PyTorch \(expected)")
            }
        }
    }
}
