internal import CKernels
internal import Foundation
public import Tensors

/// Backbones as safetensors files with InsightFace's names, shapes and order: `torch.load_state_dict` reads them.
public enum BackboneFile {
    /// The metadata key that holds the configuration as JSON.
    static let configurationKey = "configuration"

    /// Writes the flat vector f32 [P] of a backbone.
    ///
    /// - Throws: `BackboneError` if the vector does not fit the layout, or the file cannot be written.
    public static func write(
        _ parameters: Tensor, layout: ParameterLayout, to path: String, metadata: [String: String] = [:]
    ) throws(BackboneError) {
        guard parameters.dtype == .f32, parameters.shape == [layout.count] else {
            throw BackboneError(
                .invalidPayload,
                "parameters are \(parameters.dtype) \(parameters.shape); \(layout.configuration.name) has f32 [\(layout.count)]"
            )
        }
        var file = SafeTensors(metadata: metadata)
        for segment in layout.segments {
            file.tensors[segment.name] = parameters.rows(segment.range).reshaped(segment.shape)
        }
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            // That of an imported network would not tell which it is.
            if !layout.isImported {
                file.metadata[configurationKey] = String(
                    decoding: try encoder.encode(layout.configuration), as: UTF8.self)
            }
            try file.write(to: path)
        } catch { throw BackboneError(.file, "\(error)") }
    }

    /// Reads a backbone that `write` made, or another file with these names: its layout and flat vector f32 [P].
    ///
    /// The tensors may be F32, F16, BF16 or F64, and have a prefix in common, as `module.` or `backbone.`. Others in the file
    /// (`num_batches_tracked`, a head) are passed over.
    ///
    /// - Parameter configuration: what the file must hold; nil to take the file's own, or else what its tensors' shapes say.
    /// - Throws: `BackboneError` if the file is unreadable, or a tensor is missing or of another shape.
    public static func read(
        _ path: String, configuration: BackboneConfiguration? = nil
    ) throws(BackboneError) -> (layout: ParameterLayout, parameters: Tensor) {
        let file: SafeTensorsFile
        do { file = try SafeTensorsFile(path) } catch { throw BackboneError(.file, "\(error)") }
        let prefix = prefix(of: file)
        let layout: ParameterLayout
        if let configuration {
            layout = try ParameterLayout(configuration)
        } else {
            layout = try ParameterLayout(ownConfiguration(of: file, prefix: prefix))
        }
        return (layout, try parameters(of: layout, in: file, prefix))
    }

    /// Reads a network by its name, for files that do not show which they hold.
    ///
    /// Extents of images and embeddings are those that the tensors show, or else those of the name.
    ///
    /// - Throws: `BackboneError` also if the file shows, or says, that it holds another network.
    public static func read(
        _ path: String, network name: String
    ) throws(BackboneError) -> (layout: ParameterLayout, parameters: Tensor) {
        let file: SafeTensorsFile
        do { file = try SafeTensorsFile(path) } catch { throw BackboneError(.file, "\(error)") }
        let prefix = prefix(of: file)
        var configuration = try BackboneConfiguration.named(name)
        let found: BackboneConfiguration?
        if file.metadata[configurationKey] != nil {
            found = try ownConfiguration(of: file, prefix: prefix)
        } else {
            found = BackboneConfiguration(shapes: { file.shape(prefix + $0) })
        }
        if let found {
            // Of a deeper network the tensors of a shallower one are a part.
            guard found.depths == configuration.depths, found.widths == configuration.widths else {
                throw BackboneError(
                    .file,
                    "\(path): holds \(found.name) with \(found.depths) blocks of \(found.widths) channels; \(configuration.name) has \(configuration.depths) of \(configuration.widths)"
                )
            }
            configuration = found
        }
        let layout = try ParameterLayout(configuration)
        return (layout, try parameters(of: layout, in: file, prefix))
    }

    /// Reads the parameters f32 [P] of a layout, by their names.
    ///
    /// - Throws: `BackboneError` if the file is unreadable, or a tensor is missing or of another shape.
    public static func read(_ path: String, layout: ParameterLayout) throws(BackboneError) -> Tensor {
        let file: SafeTensorsFile
        do { file = try SafeTensorsFile(path) } catch { throw BackboneError(.file, "\(error)") }
        return try parameters(of: layout, in: file, prefix(of: file))
    }

    private static func parameters(
        of layout: ParameterLayout, in file: SafeTensorsFile, _ prefix: String
    ) throws(BackboneError) -> Tensor {
        let parameters = Tensor(uninitialized: Float.self, shape: [layout.count])
        for segment in layout.segments {
            let tensor: Tensor
            do { tensor = try file.floats(prefix + segment.name) } catch {
                throw BackboneError(.file, "\(error)")
            }
            guard tensor.shape == segment.shape else {
                throw BackboneError(
                    .file,
                    "\(file.path): \(segment.name) has shape \(tensor.shape), \(layout.configuration.name) has \(segment.shape)"
                )
            }
            let isFinite = tensor.withPointer(Float.self) { pfc_all_finite($0.baseAddress, $0.count) != 0 }
            guard isFinite else { throw BackboneError(.file, "\(file.path): \(segment.name) is not finite") }
            tensor.withPointer(Float.self) { values in
                parameters.withMutablePointer(Float.self) {
                    _ = UnsafeMutableBufferPointer(rebasing: $0[segment.range]).update(fromContentsOf: values)
                }
            }
        }
        return parameters
    }

    /// What stands before every name: nothing, or the shortest that the tensors of a network have.
    private static func prefix(of file: SafeTensorsFile) -> String {
        let networks = [
            ["conv1.weight", "layer1.0.conv1.weight", "fc.weight"],
            ["layers.0.layers.0.weight", "conv_sep.layers.0.weight", "features.layers.2.weight"],
        ]
        return networks.flatMap { tensors in
            file.names.filter { $0.hasSuffix(tensors[0]) }.map { String($0.dropLast(tensors[0].count)) }
                .filter { prefix in tensors.allSatisfy { file.shape(prefix + $0) != nil } }
        }.min { ($0.count, $0) < ($1.count, $1) } ?? ""
    }

    private static func ownConfiguration(
        of file: SafeTensorsFile, prefix: String
    ) throws(BackboneError) -> BackboneConfiguration {
        guard let text = file.metadata[configurationKey] else {
            guard let configuration = BackboneConfiguration(shapes: { file.shape(prefix + $0) }) else {
                throw BackboneError(
                    .file,
                    "\(file.path): does not say which backbone it holds, and its tensors are not those of InsightFace's iresnet (conv1.weight, layer1.0.conv1.weight, …, fc.weight) or mobilefacenet (layers.0.layers.0.weight, …, features.layers.2.weight)"
                )
            }
            return configuration
        }
        do { return try JSONDecoder().decode(BackboneConfiguration.self, from: Data(text.utf8)) } catch {
            throw BackboneError(.file, "\(file.path): has a configuration that cannot be read: \(error)")
        }
    }
}
