import Determinism
import Model
import Tensors
import TestSupport
import Testing
import Training

/// Every operator, forward and backward, in small networks: gradients of inputs and parameters against difference quotients.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct OperatorGradientTests {
    /// A network of a few operators between two layers with weights, so that each operator's input gradient matters.
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let input: [Int]
        let build: @Sendable (inout GraphBuilder, Graph.Value) throws -> Graph.Value
        var testDescription: String { name }
    }

    static let cases: [Case] =
        [
            ("ReLU", .relu), ("clip", .clip(-0.4, 0.5)), ("leaky ReLU", .leakyRelu(0.2)), ("sigmoid", .sigmoid),
            ("tanh", .tanh), ("hard sigmoid", .hardSigmoid), ("hard-swish", .hardSwish), ("GELU", .gelu),
            ("SiLU", .silu),
        ].map { (name, activation) in
            Case(name: name, input: [3, 5, 4]) { net, x in try net.add("f", .activation(activation), x) }
        } + [
            Case(name: "PReLU alone", input: [3, 5, 4]) { net, x in
                let slope = net.parameter("slope", [3], .parameter, .constant(0.3))
                return try net.add("p", .prelu(slope: slope), x)
            },
            Case(name: "one slope for all", input: [3, 5, 4]) { net, x in
                let slope = net.parameter("slope", [1], .parameter, .constant(0.3))
                return try net.add("p", .prelu(slope: slope), x)
            },
            Case(name: "grouped, dilated convolution with bias", input: [4, 7, 6]) { net, x in
                let weight = net.parameter("w", [6, 2, 3, 2], .parameter, .normal(standardDeviation: 0.4))
                let bias = net.parameter("b", [6], .parameter, .uniform(bound: 0.5))
                return try net.add(
                    "c",
                    .convolution(
                        .init(
                            weight: weight, bias: bias, strides: .init(2, 1),
                            padding: .init(top: 1, left: 0, bottom: 2, right: 1), dilation: .init(1, 2), groups: 2)), x)
            },
            Case(name: "depthwise convolution", input: [16, 6, 6]) { net, x in
                let weight = net.parameter("w", [16, 1, 3, 3], .parameter, .normal(standardDeviation: 0.4))
                return try net.add(
                    "c",
                    .convolution(
                        .init(
                            weight: weight, bias: nil, strides: .init(2), padding: .init(1), dilation: .init(1),
                            groups: 16)), x)
            },
            Case(name: "x + x", input: [3, 4, 4]) { net, x in try net.add("s", .binary(.add, constant: nil), x, x) },
            Case(name: "x · x", input: [3, 4, 4]) { net, x in
                try net.add("s", .binary(.multiply, constant: nil), x, x)
            },
            Case(name: "squeeze and excitation", input: [3, 4, 5]) { net, x in
                let pooled = try net.add("pool", .globalPooling(.average), x)
                let gate = try net.add("gate", .activation(.sigmoid), pooled)
                return try net.add("scale", .binary(.multiply, constant: nil), x, gate)
            },
            Case(name: "constants", input: [3, 4, 5]) { net, x in
                let one = net.parameter("one", [3, 1, 1], .parameter, .uniform(bound: 1))
                let two = net.parameter("two", [4, 5], .parameter, .constant(2))
                let y = try net.add("less", .binary(.subtract, constant: .init(one, isFirst: true)), x)
                return try net.add("over", .binary(.divide, constant: .init(two)), y)
            },
            Case(name: "division", input: [3, 4, 5]) { net, x in
                let y = try net.add("f", .activation(.sigmoid), x)
                return try net.add("d", .binary(.divide, constant: nil), x, y)
            },
            Case(name: "concatenation and slices", input: [4, 3, 5]) { net, x in
                let a = try net.add("a", .slice(axis: 0, range: 1..<3), x)
                let b = try net.add("b", .activation(.tanh), a)
                let c = try net.add("c", .concatenation(axis: 0), b, x, a)
                return try net.add("d", .slice(axis: 2, range: 0..<4), c)
            },
            Case(name: "largest", input: [3, 7, 6]) { net, x in
                try net.add(
                    "p",
                    .pooling(
                        .init(
                            kind: .maximum, kernel: .init(3, 2), strides: .init(2), padding: .init(1), roundsUp: true)),
                    x)
            },
            Case(name: "mean with padding", input: [3, 7, 6]) { net, x in
                try net.add(
                    "p",
                    .pooling(
                        .init(
                            kind: .average, kernel: .init(3), strides: .init(2), padding: .init(1), roundsUp: true,
                            countsPadding: true)), x)
            },
            Case(name: "global largest", input: [3, 4, 5]) { net, x in try net.add("p", .globalPooling(.maximum), x) },
            Case(name: "transposition and reshape", input: [3, 4, 5]) { net, x in
                let y = try net.add("t", .transpose([1, 0, 2]), x)
                let z = try net.add("r", .reshape([4, 15]), y)
                return try net.add("u", .transpose([1, 0]), z)
            },
            Case(name: "attention", input: [3, 4, 5]) { net, x in
                let tokens = try net.add("tokens", .reshape([3, 20]), x)
                let other = try net.add("keys", .transpose([1, 0]), tokens)
                let scores = try net.add("scores", .matrixProduct, tokens, other)
                let weights = try net.add("weights", .softmax(axis: 1), scores)
                return try net.add("values", .matrixProduct, weights, tokens)
            },
            Case(name: "layer normalisation of channels", input: [6, 3, 2]) { net, x in
                let last = try net.add("to", .transpose([1, 2, 0]), x)
                let weight = net.parameter("w", [6], .parameter, .uniform(bound: 1))
                let bias = net.parameter("b", [6], .parameter, .uniform(bound: 1))
                let y = try net.add("ln", .layerNormalization(weight: weight, bias: bias, epsilon: 1e-3), last)
                let wide = net.parameter("w2", [5, 6], .parameter, .uniform(bound: 1))
                let z = try net.add("mlp", .linear(weight: wide, bias: nil), y)
                return try net.add("back", .transpose([2, 0, 1]), z)
            },
            Case(name: "softmax of channels", input: [4, 3, 3]) { net, x in try net.add("s", .softmax(axis: 0), x) },
        ]

    /// A node that leads nowhere gets the gradient zero, under the name of another one too.
    @Test func whatLeadsNowhereHasNoGradient() throws {
        var net = try GraphBuilder(name: "net", input: [4])
        let (used, unused) = (net.parameter("used", [3, 4]), net.parameter("unused", [3, 4]))
        _ = try net.add("layer", .linear(weight: unused, bias: nil), .input)
        let output = try net.add("layer", .linear(weight: used, bias: nil), .input)
        let worker = try BackboneWorker(
            layout: ParameterLayout(net.finish(output)), microBatchSize: 2, blocks: ParallelBlocks(threads: 1))
        try worker.load(Tensor([Float](repeating: 1, count: 24)))
        // Two micro-batches: the second gradient lies in memory that was used before.
        let images = randomTensor([8, 1, 1, 4], seed: 1)
        for _ in 0..<2 {
            _ = try worker.forward(images: images)
            let gradient = try worker.backward(randomTensor([8, 3], seed: 2), microBatches: 0..<4, of: 4).gradients
                .array(Float.self)
            #expect(gradient[..<12].contains { $0 != 0 } && gradient[12...].allSatisfy { $0 == 0 })
        }
    }

    @Test(arguments: cases) func agreesWithDifferenceQuotients(_ test: Case) throws {
        let batch = 3
        var net = try GraphBuilder(name: test.name, input: test.input)
        // Something trained in front: the gradient of the operators' input reaches it.
        let front = net.parameter("front", test.input, .parameter, .uniform(bound: 1))
        var x = try net.add("scale", .binary(.multiply, constant: .init(front)), .input)
        x = try test.build(&net, x)
        let count = net.shape(of: x).reduce(1, *)
        x = try net.add("flat", .reshape([count]), x)
        let last = net.parameter("last", [3, count], .parameter, .uniform(bound: 0.5))
        let graph = try net.finish(try net.add("linear", .linear(weight: last, bias: nil), x))

        let layout = ParameterLayout(graph)
        let worker = try BackboneWorker(
            layout: layout, microBatchSize: batch, blocks: ParallelBlocks(threads: 1))
        let parameters = layout.initialValues(in: 0..<layout.count, seed: 11)
        let images = randomTensor([batch] + test.input, seed: 4)
        let upstream = randomTensor([batch, 3], seed: 5)
        try worker.load(parameters)
        _ = try worker.forward(images: images)
        let gradient = try worker.backward(upstream, microBatches: 0..<1, of: 1).gradients.array(Float.self)

        for segment in layout.segments {
            let direction = randomTensor([segment.range.count], seed: UInt64(segment.index) + 60).array(Float.self)
            func loss(_ step: Float) throws -> Double {
                let moved = Tensor(parameters.array(Float.self))
                for (i, element) in segment.range.enumerated() {
                    moved.mutable(Float.self)[element] += step * direction[i]
                }
                try worker.load(moved)
                return dot(try worker.forward(images: images), upstream)
            }
            let step: Float = 4e-3
            let wide = (try loss(step) - loss(-step)) / (2 * Double(step))
            let narrow = (try loss(step / 2) - loss(-step / 2)) / Double(step)
            let difference = (4 * narrow - wide) / 3
            let exact = segment.range.enumerated().reduce(0.0) {
                $0 + Double(gradient[$1.element]) * Double(direction[$1.offset])
            }
            #expect(
                abs(difference - exact) < 0.01 * max(1, abs(exact)),
                "\(segment.name): difference quotient \(difference), gradient \(exact)")
        }
    }
}
