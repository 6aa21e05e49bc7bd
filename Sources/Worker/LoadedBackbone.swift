public import ArgumentParser
public import Dataset
import Determinism
import Model
import ONNX
import ProcessSupport
import Tensors
import Training
import Verification

/// A backbone from a file, ready to embed: what `evaluate` and `embed` have in common.
struct LoadedBackbone {
    /// Images per thread of a call of the network.
    private static let batchSize = 64

    let shape: ImageShape
    let embeddingSize: Int
    let threads: Int
    /// Differs when the network's values do.
    let fingerprint: String
    private let network: BackboneWorker

    /// Reads an ONNX file, or else safetensors.
    ///
    /// - Throws: `BackboneError` or `ONNXError` if the file cannot be used.
    init(_ path: String, threads: Int) throws {
        let (layout, parameters) = try Self.read(path)
        self.threads = threads
        shape = ImageShape(
            channels: layout.configuration.inputChannels, height: layout.configuration.inputHeight,
            width: layout.configuration.inputWidth)
        embeddingSize = layout.configuration.embeddingSize
        network = try BackboneWorker(
            layout: layout, microBatchSize: Self.batchSize, blocks: ParallelBlocks(threads: threads))
        try network.load(parameters)
        fingerprint = parameters.withPointer(Float.self) {
            String(ContentFingerprint.of(UnsafeRawBufferPointer($0)), radix: 16)
        }
    }

    private static func read(_ path: String) throws -> (layout: ParameterLayout, parameters: Tensor) {
        guard path.lowercased().hasSuffix(".onnx") else { return try BackboneFile.read(path) }
        let (graph, parameters) = try ONNXFile.read(path)
        guard graph.inputShape.count == 3, [1, 3].contains(graph.inputShape[0]) else {
            throw ONNXError(
                path: path,
                problem:
                    "its input is \(graph.inputShape) behind the batch; images of 1 or 3 channels, [channels, height, width], are needed"
            )
        }
        return (ParameterLayout(graph), parameters)
    }

    /// The images of a call.
    var batchSize: Int { Self.batchSize * threads }

    /// Images f32 [n, height, width, channels] to embeddings f32 [n, D].
    func embed(_ images: Tensor) throws -> Tensor { try network.embed(images: images, order: .nhwc) }

    /// What embeds images of any source.
    func embedder(flips: Bool, preprocessing: Preprocessing) -> ImageEmbedder {
        var options = ImageEmbedder.Options()
        options.batchSize = batchSize
        options.flips = flips
        options.preprocessing = preprocessing
        options.threads = threads
        return ImageEmbedder(options: options) { try embed($0) }
    }
}

extension Preprocessing: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }

    public var defaultValueDescription: String { "127.5,127.5,RGB" }
}
