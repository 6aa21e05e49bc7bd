public import Inference
public import Tensors

/// What a layer costs the embedding.
public struct LayerSensitivity: Sendable, Hashable, Codable {
    public var layer: String
    /// By how much the mean cosine to the float network's embedding rises if this layer alone is computed in single precision.
    public var gain: Double
}

extension Quantizer {
    /// The float network's embeddings of images.
    public func floatEmbeddings(_ images: Tensor) -> Tensor {
        InferenceNetwork(network, kernels: kernels, blocks: blocks).embed(images)
    }

    /// The mean cosine between the embeddings of a quantised and of the float network.
    public func cosines(_ integers: [IntegerLayer?], _ images: Tensor, float: Tensor) -> [Double] {
        let result = InferenceNetwork(network, integers: integers, kernels: kernels, blocks: blocks).embed(images)
        return Self.cosines(result, float, size: network.embeddingSize)
    }

    /// Every quantised layer, the most sensitive first.
    ///
    /// - Parameters:
    ///   - images: f32 [n, height, width, channels], not those of the calibration.
    ///   - float: the float network's embeddings of them.
    public func sensitivities(_ integers: [IntegerLayer?], _ images: Tensor, float: Tensor) -> [LayerSensitivity] {
        func mean(_ integers: [IntegerLayer?]) -> Double {
            let all = cosines(integers, images, float: float)
            return all.reduce(0, +) / Double(max(1, all.count))
        }
        let start = mean(integers)
        return integers.indices.filter { integers[$0] != nil }.map { position in
            var without = integers
            without[position] = nil
            return LayerSensitivity(layer: network.layers[position].name, gain: mean(without) - start)
        }.sorted { ($1.gain, $0.layer) < ($0.gain, $1.layer) }
    }
}
