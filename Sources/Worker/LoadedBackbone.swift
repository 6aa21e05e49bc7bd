public import ArgumentParser
public import Dataset
import Determinism
import Model
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

    /// - Throws: `BackboneError` if the file cannot be used.
    init(_ path: String, threads: Int) throws(BackboneError) {
        let (layout, parameters) = try BackboneFile.read(path)
        self.threads = threads
        shape = ImageShape(
            channels: layout.configuration.inputChannels, height: layout.configuration.inputHeight,
            width: layout.configuration.inputWidth)
        embeddingSize = layout.configuration.embeddingSize
        network = try BackboneWorker(
            configuration: layout.configuration, microBatchSize: Self.batchSize,
            blocks: ParallelBlocks(threads: threads))
        try network.load(parameters)
        fingerprint = parameters.withPointer(Float.self) {
            String(ContentFingerprint.of(UnsafeRawBufferPointer($0)), radix: 16)
        }
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
