import Determinism
import Inference
import Model
import Tensors

/// Numbers in ±1 that are a function of a seed.
func numbers(_ count: Int, seed: UInt64) -> [Float] {
    var random = KeyedRandom(seed: seed, purpose: .test)
    return (0..<count).map { _ in Float(2 * random.unit() - 1) }
}

/// Parameters with running statistics as training leaves them.
func parameters(_ graph: Graph, seed: UInt64) -> Tensor {
    let layout = ParameterLayout(graph)
    var values = numbers(layout.count, seed: seed)
    for segment in layout.segments {
        let width = segment.shape.dropFirst().reduce(1, *)
        for index in segment.range {
            if segment.name.hasSuffix("running_var") {
                values[index] = 1 + 0.5 * values[index]
            } else if segment.shape.count > 1 {
                values[index] /= Float(max(1, width)).squareRoot() / 2
            } else if segment.name.hasSuffix("weight") {
                values[index] = 0.75 + 0.25 * values[index]
            }
        }
    }
    return Tensor(values, shape: [layout.count])
}

func images(_ count: Int, _ graph: Graph, seed: UInt64) -> Tensor {
    let shape = graph.inputShape
    return Tensor(
        numbers(count * shape.reduce(1, *), seed: seed), shape: [count, shape[1], shape[2], shape[0]])
}

/// Encodings that are no function of data: as many codes as there are, and zeros of every kind.
func someIntegers(_ network: FoldedNetwork, bits: Int) -> [IntegerLayer?] {
    network.layers.enumerated().map { position, layer in
        guard let weighted = layer.weighted else { return nil }
        let limit = Encoding.limit(bits: bits)
        let input = Encoding(
            bits: bits, scale: Float(limit) / (1.5 + Float(position % 3)), zero: [0, -limit, limit / 3][position % 3])
        var largest = [Float](repeating: 1e-3, count: weighted.output.channels)
        for (index, weight) in weighted.weights.enumerated() {
            largest[weighted.output(ofWeight: index)] = max(largest[weighted.output(ofWeight: index)], abs(weight))
        }
        return IntegerLayer(input: input, encoding: weighted, scales: largest.map { Float(limit) / $0 })
    }
}
