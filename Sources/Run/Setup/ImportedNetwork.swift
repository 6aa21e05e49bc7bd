internal import Configuration
internal import Foundation
internal import Model
internal import ONNX
internal import Tensors

extension RunConfiguration {
    /// Whether the network is that of an ONNX file.
    var importsNetwork: Bool { backbone.initial.lowercased().hasSuffix(".onnx") }
}

/// The network of the ONNX file that `backbone.initial` names.
///
/// Every member reads the file at this path on its machine. What tells it from other files is in the configuration, `backbone.graph`: the
/// first to read it writes that down, the others compare.
struct ImportedNetwork {
    /// The network, with the values that it came with.
    let layout: ParameterLayout
    /// The configuration with `backbone.graph`.
    let configuration: RunConfiguration

    /// - Throws: `ConfigurationError` if the file is another one than the run's or does not fit the data or the head; `ONNXError` if it
    ///   cannot be used.
    init(_ configuration: RunConfiguration) throws {
        let path = configuration.backbone.initial
        func fail(_ key: String, _ problem: String) -> ConfigurationError {
            ConfigurationError(key: key, problem: problem)
        }
        guard configuration.backbone.depths.isEmpty, configuration.backbone.widths.isEmpty else {
            throw fail("backbone.depths", "and widths do not go with the network of a file, \(path)")
        }
        let data = configuration.data
        let (graph, values) = try ONNXFile.read(path, openHeight: data.imageSize, openWidth: data.width)
        guard graph.inputShape == [data.channels, data.imageSize, data.width] else {
            throw fail(
                "data.image_size",
                "is \(data.imageSize), with a width of \(data.width) and \(data.channels) channels, but \(path) takes \(graph.inputShape): channels, height, width"
            )
        }
        guard graph.outputShape == [configuration.backbone.embeddingSize] else {
            throw fail(
                "backbone.embedding_size",
                "is \(configuration.backbone.embeddingSize), but \(path) gives \(graph.outputShape) for each image")
        }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        // The file may name others for its values.
        let content = ContentHash.hex(of: [Tensor([UInt8](bytes)), values])
        let known = configuration.backbone.graph ?? ""
        guard known.isEmpty || known == content else {
            throw fail(
                "backbone.initial",
                "\(path) is another file here, of content \(content), than where the run began, \(known)")
        }
        layout = try ParameterLayout(graph, values: values, frozen: configuration.backbone.frozen ?? [])
        var configuration = configuration
        configuration.backbone.graph = content
        self.configuration = configuration
    }
}
