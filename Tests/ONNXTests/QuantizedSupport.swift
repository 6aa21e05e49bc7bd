import Determinism
import Foundation
import Inference
import Model
import Tensors
import TestSupport

/// Numbers in ±scale/2 that are a function of their place; Tests/Golden/qdq_models.py has the same.
func numbers(_ count: Int, _ kind: Int, scale: Float = 1) -> [Float] {
    AdamWGolden.numbers(count, kind: kind).map { scale * $0 }
}

func smallImages(_ count: Int) -> Tensor { Tensor(numbers(count * 192, 20, scale: 2), shape: [count, 8, 8, 3]) }

/// The folder of files that scripts made.
let goldenFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Golden").path

/// Every kind of layer, and integers of every kind: 8 and 7 bits, with and without a zero, single precision.
func quantizedNetwork(groupWidth: Int = 1) -> (network: FoldedNetwork, integers: [IntegerLayer?]) {
    let image = Extents(channels: 3, height: 8, width: 8)
    let half = Extents(channels: 8, height: 4, width: 4)
    let vector = Extents(channels: 6, height: 1, width: 1)
    var layers: [FoldedLayer] = []
    var integers: [IntegerLayer?] = []

    func add(
        _ name: String, _ operation: FoldedLayer.Operation, _ inputs: [Int], _ extents: Extents,
        first: ChannelActivation = .none, residual: Int? = nil, second: ChannelActivation = .none
    ) {
        var layer = FoldedLayer(name: name, operation: operation, inputs: inputs, extents: extents)
        layer.first = first
        layer.residual = residual
        layer.second = second
        layers.append(layer)
        integers.append(nil)
    }
    func weighted(
        _ name: String, kind: Int, _ inputs: [Int], _ input: Extents, _ output: Extents, _ window: WeightedLayer.Window,
        isDepthwise: Bool = false, _ encoding: Encoding?, first: ChannelActivation = .none, residual: Int? = nil,
        second: ChannelActivation = .none
    ) {
        let taps = window.kernel.height * window.kernel.width
        let width = isDepthwise ? groupWidth : 1
        let count = output.channels * taps * (isDepthwise ? width : input.channels)
        var layer = WeightedLayer(
            weights: numbers(count, kind), bias: numbers(output.channels, kind + 1, scale: 0.25),
            isDepthwise: isDepthwise, groupWidth: width, window: window, input: input, output: output)
        let integer = encoding.map { encoding in
            IntegerLayer(
                input: encoding, encoding: layer,
                scales: (0..<output.channels).map { Float(encoding.limit) * (1.9 + 0.07 * Float($0)) })
        }
        // The integers are what is computed with.
        if integer != nil { layer.weights = layer.weights.map { _ in 0 } }
        add(name, .weighted(layer), inputs, output, first: first, residual: residual, second: second)
        integers[integers.count - 1] = integer
    }

    weighted(
        "first", kind: 1, [0], image, half, .init(kernel: .init(3), strides: .init(2), padding: .init(1)),
        .init(bits: 8, scale: 127 / 0.97), first: .clip(0, .infinity))
    weighted(
        "deep", kind: 3, [1], half, half, .init(kernel: .init(3), padding: .init(1)), isDepthwise: true,
        .init(bits: 7, scale: 63 / 0.41, zero: -63), first: .prelu(numbers(8, 5).map { 0.5 * $0 }))
    weighted(
        "joined", kind: 6, [2], half, half, .init(kernel: .init(1)), .init(bits: 7, scale: 63 / 0.9), residual: 1,
        second: .clip(-0.5, 0.75))
    add("normal", .scale(factor: numbers(8, 8).map { 1 + $0 }, summand: numbers(8, 9)), [3], half)
    weighted(
        "full", kind: 10, [4], half, half, .init(kernel: .init(3), padding: .init(1)),
        .init(bits: 8, scale: 101.3, zero: -40, lowest: -128))
    weighted("single", kind: 12, [4], half, half, .init(kernel: .init(1)), nil, first: .prelu(numbers(8, 14)))
    add("sum", .other(.binary(.multiply)), [5, 6], half)
    add(
        "mean", .other(.pooling(.init(kind: .average, kernel: .init(3), strides: .init(1), padding: .init(1)))), [7],
        half)
    weighted(
        "last", kind: 16, [8], half, vector, .init(kernel: .init(4)), .init(bits: 8, scale: 127 / 0.55, zero: 17))
    return (FoldedNetwork(name: "small", input: image, layers: layers, output: layers.count), integers)
}

func embed(_ network: FoldedNetwork, _ integers: [IntegerLayer?], _ images: Tensor) throws -> [Float] {
    InferenceNetwork(network, integers: integers, kernels: try .best(), blocks: .init(threads: 1)).embed(images)
        .array(Float.self)
}
