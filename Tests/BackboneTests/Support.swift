import Determinism
import Model
import Tensors
import Training

/// A small IResNet: blocks with and without a convolution in the shortcut, at two strides.
func smallConfiguration(channels: Int = 3, height: Int = 8, width: Int = 8) -> BackboneConfiguration {
    BackboneConfiguration(
        name: "test", depths: [2, 1], widths: [16, 32], strides: [2, 2], stemWidth: 16, inputChannels: channels,
        inputHeight: height, inputWidth: width, embeddingSize: 8)
}

/// Numbers in ±1.
func randomTensor(_ shape: [Int], seed: UInt64) -> Tensor {
    var random = KeyedRandom(seed: seed, purpose: .test)
    return Tensor((0..<shape.reduce(1, *)).map { _ in Float(2 * random.unit() - 1) }, shape: shape)
}

/// Starting values, with normalisations, slopes and statistics moved off their round numbers.
func randomParameters(_ layout: ParameterLayout, seed: UInt64) -> Tensor {
    let parameters = layout.initialValues(in: 0..<layout.count, seed: seed)
    let values = parameters.mutable(Float.self)
    let noise = randomTensor([layout.count], seed: seed &+ 1).array(Float.self)
    for segment in layout.segments where segment.kind != .frozen && segment.shape.count == 1 {
        for i in segment.range { values[i] += noise[i] * (segment.name.hasSuffix("prelu.weight") ? 0.1 : 0.3) }
    }
    return parameters
}

/// <a, b> in double.
func dot(_ a: Tensor, _ b: Tensor) -> Double {
    zip(a.array(Float.self), b.array(Float.self)).reduce(0) { $0 + Double($1.0) * Double($1.1) }
}

/// |a − b| / |b|, Frobenius.
func relativeError(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Double {
    var (difference, norm) = (0.0, 0.0)
    for (x, y) in zip(a, b) {
        difference += (Double(x) - Double(y)) * (Double(x) - Double(y))
        norm += Double(y) * Double(y)
    }
    return (difference / max(norm, 1e-30)).squareRoot()
}

/// The bit patterns of a tensor of floats.
func bits(_ tensor: Tensor) -> [UInt32] { tensor.array(Float.self).map(\.bitPattern) }

/// A worker with parameters loaded.
func makeWorker(
    _ configuration: BackboneConfiguration, microBatchSize: Int = 4, threads: Int = 1, memoryBudget: Int = 1 << 30,
    parameters: Tensor? = nil, dropout: Dropout = .none
) throws -> BackboneWorker {
    let worker = try BackboneWorker(
        layout: ParameterLayout(configuration), microBatchSize: microBatchSize,
        blocks: ParallelBlocks(threads: threads), memoryBudget: memoryBudget, dropout: dropout)
    try worker.load(parameters ?? randomParameters(worker.layout, seed: 5))
    return worker
}
