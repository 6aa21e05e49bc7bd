import Determinism
import Inference
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct InferenceNetworkTests {
    private static func graph(_ name: String) throws -> Graph {
        switch name {
        case "operators": try operators()
        default: try ParameterLayout(.named(name)).graph!
        }
    }

    /// Every operator that the engine has, in one network.
    private static func operators() throws -> Graph {
        var net = try GraphBuilder(name: "operators", input: [3, 14, 11])
        func convolution(
            _ name: String, _ x: Graph.Value, outputs: Int, kernel: (Int, Int), strides: Graph.Extent = .init(1),
            padding: Graph.Padding = .zero, dilation: Graph.Extent = .init(1), groups: Int = 1
        ) throws -> Graph.Value {
            let inputs = net.shape(of: x)[0]
            let weight = net.parameter("\(name).weight", [outputs, inputs / groups, kernel.0, kernel.1])
            let bias = net.parameter("\(name).bias", [outputs])
            return try net.add(
                name,
                .convolution(
                    .init(
                        weight: weight, bias: bias, strides: strides, padding: padding, dilation: dilation,
                        groups: groups)), x)
        }
        func normalization(_ name: String, _ x: Graph.Value) throws -> Graph.Value {
            let c = [net.shape(of: x)[0]]
            let n = Graph.BatchNormalization(
                weight: net.parameter("\(name).weight", c), bias: net.parameter("\(name).bias", c),
                mean: net.parameter("\(name).running_mean", c, .statistic),
                variance: net.parameter("\(name).running_var", c, .statistic), epsilon: 1e-5)
            return try net.add(name, .batchNormalization(n), x)
        }
        // A normalisation before a convolution, which its padding keeps from being folded.
        var x = try normalization("first", .input)
        x = try convolution(
            "wide", x, outputs: 10, kernel: (3, 5), strides: .init(2, 1),
            padding: .init(top: 1, left: 2, bottom: 0, right: 1))
        x = try net.add("wide.clip", .activation(.clip(-0.5, 2)), x)
        let a = try convolution("a", x, outputs: 12, kernel: (3, 3), padding: .init(2), dilation: .init(2))
        var b = try convolution("b", x, outputs: 12, kernel: (1, 1), groups: 2)
        b = try normalization("b.norm", b)
        x = try net.add("sum", .binary(.add, constant: nil), a, b)
        x = try net.add("sum.relu", .activation(.relu), x)
        // Read by a squeeze and excitation, a depthwise convolution, and an addition.
        var s = try net.add("squeeze", .globalPooling(.average), x)
        s = try convolution("squeeze.fc", s, outputs: 12, kernel: (1, 1))
        s = try net.add("squeeze.sigmoid", .activation(.sigmoid), s)
        let scaled = try net.add("scaled", .binary(.multiply, constant: nil), x, s)
        var d = try convolution("deep", x, outputs: 12, kernel: (3, 3), padding: .init(1), groups: 12)
        d = try convolution("pairs", d, outputs: 12, kernel: (3, 3), padding: .init(1), groups: 6)
        d = try convolution("fours", d, outputs: 12, kernel: (1, 1), groups: 3)
        d = try net.add("deep.swish", .activation(.hardSwish), d)
        x = try net.add("joined", .concatenation(axis: 0), scaled, d)
        x = try net.add("part", .slice(axis: 0, range: 3..<19), x)
        let one = net.parameter("slope", [1])
        x = try net.add("prelu", .prelu(slope: one), x)
        x = try net.add(
            "pool", .pooling(.init(kind: .maximum, kernel: .init(2), strides: .init(2), padding: .init(1))), x)
        x = try net.add(
            "mean", .pooling(.init(kind: .average, kernel: .init(3), strides: .init(2), countsPadding: true)), x)
        let half = net.parameter("half", [16, 1, 1])
        x = try net.add("times", .binary(.multiply, constant: .init(half)), x)
        x = try net.add("flat", .reshape([net.shape(of: x).reduce(1, *)]), x)
        x = try net.add("dropout", .dropout, x)
        let weight = net.parameter("fc.weight", [5, net.shape(of: x)[0]])
        x = try net.add("fc", .linear(weight: weight, bias: nil), x)
        x = try normalization("last", x)
        return try net.finish(x)
    }

    /// The training executor, which shares no kernel with it, gives the same embeddings.
    @Test(arguments: ["operators", "iresnet-small", "mbf"])
    func singlePrecisionAgreesWithTraining(name: String) throws {
        let graph = try Self.graph(name)
        let parameters = parameters(graph, seed: 3)
        let images = images(5, graph, seed: 4)
        let worker = try BackboneWorker(
            layout: ParameterLayout(graph), microBatchSize: 5, blocks: ParallelBlocks(threads: 1))
        try worker.load(parameters)
        let expected = try worker.embed(images: images, order: .nhwc).array(Float.self)
        let network = InferenceNetwork(
            try FoldedNetwork(graph, parameters: parameters), kernels: try .best(), blocks: ParallelBlocks(threads: 2))
        let found = network.embed(images).array(Float.self)
        let size = expected.map(abs).max() ?? 0
        #expect(found.count == expected.count && size > 1e-3)
        let error = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
        #expect(error <= 2e-5 * size, "\(error) of \(size)")
    }

    /// One result, whatever the processor, the number of threads and the grouping of images.
    @Test(arguments: ["operators", "iresnet-small"], [0, 8, 7, 6])
    func sameBitsEverywhere(name: String, bits: Int) throws {
        let graph = try Self.graph(name)
        let network = try FoldedNetwork(graph, parameters: parameters(graph, seed: 5))
        let images = images(7, graph, seed: 6)
        let integers = bits == 0 ? network.layers.map { _ in nil } : someIntegers(network, bits: bits)
        var first: [Float]?
        for kernels in InferenceKernels.all {
            for (threads, group) in [(1, 1), (2, 4), (3, 2), (3, 7)] {
                let engine = InferenceNetwork(
                    network, integers: integers, kernels: kernels, blocks: ParallelBlocks(threads: threads),
                    groupSize: group)
                let result = engine.embed(images).array(Float.self)
                first = first ?? result
                #expect(result == first, "\(kernels.name), \(threads) threads, groups of \(group)")
            }
        }
        #expect(Set(first ?? []).count > 10)
    }

    /// A layer on its own, and in a network where normalisations and encodings are written on the way out, are the same.
    @Test func layersAloneGiveTheNetworksBits() throws {
        let graph = try Self.graph("operators")
        let network = try FoldedNetwork(graph, parameters: parameters(graph, seed: 7))
        let integers = someIntegers(network, bits: 7)
        let (kernels, blocks) = (try InferenceKernels.best(), ParallelBlocks(threads: 2))
        let images = images(3, graph, seed: 8)
        var values: [Tensor] = [images]
        for (layer, own) in zip(network.layers, integers) {
            let runner = LayerRunner(
                layer, inputs: layer.inputs.map(network.extents), integers: own, kernels: kernels, blocks: blocks)
            values.append(
                runner.run(layer.inputs.map { values[$0] }, residual: layer.residual.map { values[$0] }, samples: 3))
        }
        let whole = InferenceNetwork(network, integers: integers, kernels: kernels, blocks: blocks).embed(images)
        #expect(whole.array(Float.self) == values[network.output].array(Float.self))
    }

    /// The integers of a convolution from their definition: codes, exact sums, one product and one addition.
    @Test(arguments: [8, 7, 5], [0, -3, 9])
    func integersAreTheirDefinition(bits: Int, zero: Int) throws {
        let input = Extents(channels: 6, height: 5, width: 7)
        let output = Extents(channels: 9, height: 3, width: 7)
        let window = WeightedLayer.Window(
            kernel: .init(3, 3), strides: .init(2, 1), padding: .init(top: 1, left: 1, bottom: 1, right: 1))
        let weighted = WeightedLayer(
            weights: numbers(9 * 9 * 6, seed: 9), bias: numbers(9, seed: 10), isDepthwise: false, window: window,
            input: input, output: output)
        var layer = FoldedLayer(name: "c", operation: .weighted(weighted), inputs: [0], extents: output)
        layer.first = .prelu(numbers(9, seed: 11))
        layer.second = .clip(-1, 1.5)
        let encoding = Encoding(bits: bits, scale: Float((1 << (bits - 1)) - 1), zero: zero)
        let scales = (0..<9).map { 20 + Float($0) }
        let integers = IntegerLayer(input: encoding, encoding: weighted, scales: scales)
        let x = numbers(input.count, seed: 12).map { 1.3 * $0 }
        let residual = numbers(output.count, seed: 13)
        let limit = (1 << (bits - 1)) - 1
        func code(_ x: Float) -> Int {
            max(-limit, min(limit, Int((x * encoding.scale).rounded(.toNearestOrEven)) + zero)) - zero
        }
        var expected: [Float] = []
        for y in 0..<3 {
            for px in 0..<7 {
                for o in 0..<9 {
                    var sum = 0
                    for ky in 0..<3 {
                        for kx in 0..<3 {
                            let (row, column) = (2 * y + ky - 1, px + kx - 1)
                            guard (0..<5).contains(row), (0..<7).contains(column) else { continue }
                            for c in 0..<6 {
                                let weight = integers.weights[(o * 9 + ky * 3 + kx) * 6 + c]
                                sum += code(x[(row * 7 + column) * 6 + c]) * Int(weight)
                            }
                        }
                    }
                    let scale = 1 / (scales[o] * encoding.scale)
                    var v = Float(sum) * scale
                    v += weighted.bias[o]
                    if case .prelu(let slopes) = layer.first, v <= 0 { v *= slopes[o] }
                    v += residual[(y * 7 + px) * 9 + o]
                    expected.append(min(max(v, -1), 1.5))
                }
            }
        }
        layer.residual = 0
        for kernels in InferenceKernels.all {
            let runner = LayerRunner(
                layer, inputs: [input], integers: integers, kernels: kernels, blocks: ParallelBlocks(threads: 1))
            let found = runner.run(
                [Tensor(x, shape: [1, 35, 6])], residual: Tensor(residual, shape: [1, 21, 9]), samples: 1)
            #expect(found.array(Float.self) == expected, "\(kernels.name)")
        }
    }

    @Test func operatorsThatTheEngineLacksAreNamed() throws {
        var net = try GraphBuilder(name: "attention", input: [4, 6, 6])
        let x = try net.add("scores", .softmax(axis: 0), .input)
        let graph = try net.finish(net.add("flat", .reshape([144]), x))
        let error = #expect(throws: BackboneError.self) {
            try FoldedNetwork(graph, parameters: Tensor([Float](), shape: [0]))
        }
        #expect(error?.message.contains("softmax scores") == true, "\(error?.message ?? "")")
    }

    /// Groups of few channels are computed as such, not as a dense layer with zeros: `mbf` has one of two.
    @Test func groupsOfFewChannelsStayGroups() throws {
        let graph = try Self.graph("mbf")
        let network = try FoldedNetwork(graph, parameters: parameters(graph, seed: 15))
        let pairs = network.layers.compactMap(\.weighted).filter { $0.groupWidth == 2 }
        #expect(pairs.map(\.groups) == [64] && pairs.map(\.weights.count) == [9 * 2 * 128])
        #expect(pairs.map(\.depth) == [18] && pairs.allSatisfy(\.isDepthwise))
    }

    @Test func normalisationsAndActivationsAreFolded() throws {
        let graph = try Self.graph("mbf")
        let network = try FoldedNetwork(graph, parameters: parameters(graph, seed: 14))
        // Nothing but convolutions and the linear layer is left.
        #expect(network.layers.allSatisfy { $0.weighted != nil })
        #expect(
            network.layers.count == graph.nodes.count { if case .convolution = $0.operation { true } else { false } }
                + 1)
    }
}
