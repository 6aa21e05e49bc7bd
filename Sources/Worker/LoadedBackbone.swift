public import ArgumentParser
public import Dataset
import Determinism
import Foundation
import Inference
import Model
import ONNX
import ProcessSupport
import Quantization
import Tensors
import Verification

/// A backbone from a file, ready to embed: what `evaluate` and `embed` have in common.
struct LoadedBackbone {
    let shape: ImageShape
    let embeddingSize: Int
    let threads: Int
    /// Differs when the network's values do.
    let fingerprint: String
    /// Whether the network makes of pixels 0…255 what it needs.
    private let takesPixels: Bool
    private let network: EmbeddingNetwork

    /// Reads an ONNX file, plain or quantised, a quantised network, or else a backbone's safetensors.
    ///
    /// - Parameter name: the network that safetensors hold; nil to find out.
    /// - Throws: `BackboneError`, `ONNXError` or `SafeTensorsError` if the file cannot be used.
    init(_ path: String, as name: String? = nil, threads: Int) throws {
        self.threads = threads
        let blocks = ParallelBlocks(threads: threads)
        let (layout, parameters): (ParameterLayout, Tensor)
        switch try Self.read(path, as: name) {
        case .quantized(let folded, let integers):
            guard [1, 3].contains(folded.input.channels) else {
                throw BackboneError(
                    .file, "\(path): takes images of \(folded.input.channels) channels; 1 or 3 are needed")
            }
            (shape, embeddingSize) = (ImageShape(folded.input), folded.embeddingSize)
            network = .folded(
                InferenceNetwork(folded, integers: integers, kernels: try InferenceKernels.best(), blocks: blocks))
            takesPixels = folded.takesPixels
            fingerprint = try FileFingerprint.of(path)
            return
        case .plain(let plain, let values): (layout, parameters) = (plain, values)
        }
        shape = ImageShape(
            channels: layout.configuration.inputChannels, height: layout.configuration.inputHeight,
            width: layout.configuration.inputWidth)
        embeddingSize = layout.configuration.embeddingSize
        network = try EmbeddingNetwork(layout, parameters, blocks: blocks)
        takesPixels = network.takesPixels
        fingerprint = parameters.withPointer(Float.self) {
            String(ContentFingerprint.of(UnsafeRawBufferPointer($0)), radix: 16)
        }
    }

    /// What a file holds.
    enum Contents {
        /// Parameters are f32 [P].
        case plain(ParameterLayout, Tensor)
        case quantized(FoldedNetwork, [IntegerLayer?])
    }

    /// Reads a file, whatever it holds.
    ///
    /// - Parameter name: the network that safetensors hold; nil to find out.
    /// - Throws: `BackboneError`, `ONNXError` or `SafeTensorsError` if the file cannot be used.
    static func read(_ path: String, as name: String? = nil) throws -> Contents {
        let isONNX = path.lowercased().hasSuffix(".onnx")
        guard name == nil || !isONNX && !QuantizedFile.isOne(path) else {
            throw BackboneError(.file, "\(path) says itself which network it holds: leave --network out")
        }
        guard isONNX else {
            if QuantizedFile.isOne(path) {
                let (network, integers, _) = try QuantizedFile.read(path)
                return .quantized(network, integers)
            }
            let (layout, parameters) =
                try name.map { try BackboneFile.read(path, network: $0) } ?? BackboneFile.read(path)
            return .plain(layout, parameters)
        }
        switch try ONNXFile.readNetwork(path) {
        case .quantized(let network, let integers): return .quantized(network, integers)
        case .graph(let graph, let parameters):
            guard graph.inputShape.count == 3, [1, 3].contains(graph.inputShape[0]) else {
                throw ONNXError(
                    path: path,
                    problem:
                        "its input is \(graph.inputShape) behind the batch; images of 1 or 3 channels, [channels, height, width], are needed"
                )
            }
            return .plain(ParameterLayout(graph), parameters)
        }
    }

    /// A network in single precision and its parameters, of an ONNX or safetensors file.
    ///
    /// - Throws: `BackboneError` or `ONNXError` if the file cannot be used, or holds no network or a quantised one.
    static func readGraph(_ path: String) throws -> (graph: Graph, parameters: Tensor) {
        guard case .plain(let layout, let parameters) = try read(path) else {
            throw BackboneError(.file, "\(path) is quantised already; quantise the network that it was made of")
        }
        guard let graph = layout.graph else {
            throw BackboneError(.file, "\(path) holds no network: its embeddings are the data set's")
        }
        return (graph, parameters)
    }

    /// The images of a call.
    var batchSize: Int { EmbeddingNetwork.batchSize * threads }

    /// Images f32 [n, height, width, channels] to embeddings f32 [n, D].
    func embed(_ images: Tensor) throws -> Tensor { try network.embed(images) }

    /// What is to become of pixels: what was asked for, or nothing for a network that normalises them itself.
    func preprocessing(_ asked: Preprocessing) -> Preprocessing {
        takesPixels ? asked.leavingPixels() : asked
    }

    /// What embeds images of any source.
    func embedder(flips: Bool, preprocessing: Preprocessing) -> ImageEmbedder {
        var options = ImageEmbedder.Options()
        options.batchSize = batchSize
        options.flips = flips
        options.preprocessing = self.preprocessing(preprocessing)
        options.threads = threads
        return ImageEmbedder(options: options) { try embed($0) }
    }
}

extension ImageShape {
    init(_ extents: Extents) {
        self.init(channels: extents.channels, height: extents.height, width: extents.width)
    }
}

extension Preprocessing {
    /// For a network that normalises pixels itself: pixels as they are, unless something else than the default was asked for.
    func leavingPixels() -> Preprocessing {
        guard self == Preprocessing() else { return self }
        Shown.note("note: the network normalises pixels itself and is given 0...255, as by --preprocess 0,1")
        return Preprocessing(mean: 0, scale: 1)
    }
}

extension Preprocessing: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }

    public var defaultValueDescription: String { "127.5,127.5,RGB" }
}
