import Foundation
import Inference
import Model
import Tensors
import TestSupport

/// Numbers in ±scale/2 that are a function of their place; Tests/Golden/easyquant.py has the same.
func numbers(_ count: Int, _ kind: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { scale * Float(AdamWGolden.number($0, kind: kind)) }
}

/// A convolution with ReLU, a depthwise one (or one of pairs of channels) with PReLU and a residual, a 1×1 that joins, and a linear layer over what is left.
func smallNetwork(groupWidth: Int = 1) -> FoldedNetwork {
    let image = Extents(channels: 3, height: 8, width: 8)
    let half = Extents(channels: 8, height: 4, width: 4)
    func weighted(
        _ kind: Int, _ input: Extents, _ output: Extents, _ window: WeightedLayer.Window, isDepthwise: Bool = false
    ) -> FoldedLayer.Operation {
        let taps = window.kernel.height * window.kernel.width
        let width = isDepthwise ? groupWidth : 1
        let count = output.channels * taps * (isDepthwise ? width : input.channels)
        return .weighted(
            WeightedLayer(
                weights: numbers(count, kind), bias: numbers(output.channels, kind + 1, scale: 0.25),
                isDepthwise: isDepthwise, groupWidth: width, window: window, input: input, output: output))
    }
    var first = FoldedLayer(
        name: "first",
        operation: weighted(1, image, half, .init(kernel: .init(3), strides: .init(2), padding: .init(1))),
        inputs: [0], extents: half)
    first.first = .clip(0, .infinity)
    var deep = FoldedLayer(
        name: "deep",
        operation: weighted(3, half, half, .init(kernel: .init(3), padding: .init(1)), isDepthwise: true), inputs: [1],
        extents: half)
    deep.first = .prelu(numbers(8, 5).map { 0.5 * $0 })
    var joined = FoldedLayer(
        name: "joined", operation: weighted(6, half, half, .init(kernel: .init(1))), inputs: [2], extents: half)
    joined.residual = 1
    let vector = Extents(channels: 6, height: 1, width: 1)
    let last = FoldedLayer(
        name: "last", operation: weighted(8, half, vector, .init(kernel: .init(4))), inputs: [3], extents: vector)
    return FoldedNetwork(name: "small", input: image, layers: [first, deep, joined, last], output: 4)
}

func smallImages(_ count: Int) -> Tensor { Tensor(numbers(count * 192, 20, scale: 2), shape: [count, 8, 8, 3]) }
