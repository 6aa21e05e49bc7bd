import Determinism
import Inference
import Model
import Tensors
import Training

/// A network in use, in single precision or in integers.
enum EmbeddingNetwork {
    case folded(InferenceNetwork)
    /// Operators that only training has, with running statistics.
    case unfolded(BackboneWorker)

    /// Images per thread of a call.
    static let batchSize = 64

    /// The network of `layout` in single precision: folded where that is possible, which takes less memory and time.
    ///
    /// - Parameter parameters: f32 [P].
    /// - Throws: `BackboneError` if it cannot be built.
    init(_ layout: ParameterLayout, _ parameters: Tensor, blocks: ParallelBlocks) throws {
        if let graph = layout.graph, let folded = try? FoldedNetwork(graph, parameters: parameters) {
            self = .folded(InferenceNetwork(folded, kernels: try InferenceKernels.best(), blocks: blocks))
        } else {
            let worker = try BackboneWorker(layout: layout, microBatchSize: Self.batchSize, blocks: blocks)
            try worker.load(parameters)
            self = .unfolded(worker)
        }
    }

    /// Whether it makes of pixels 0…255 what it needs.
    var takesPixels: Bool { if case .folded(let network) = self { network.network.takesPixels } else { false } }

    /// Images f32 [n, height, width, channels] to embeddings f32 [n, D].
    func embed(_ images: Tensor) throws -> Tensor {
        switch self {
        case .folded(let network): network.embed(images)
        case .unfolded(let worker): try worker.embed(images: images, order: .nhwc)
        }
    }
}
