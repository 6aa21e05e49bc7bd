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
            file.metadata[configurationKey] = String(decoding: try encoder.encode(layout.configuration), as: UTF8.self)
            try file.write(to: path)
        } catch { throw BackboneError(.file, "\(error)") }
    }

    /// Reads a backbone that `write` made: its layout and flat vector f32 [P].
    ///
    /// - Parameter configuration: for files of other origin, which do not say what they are; nil to take the file's own.
    /// - Throws: `BackboneError` if the file is unreadable, or a tensor is missing or of another shape.
    public static func read(
        _ path: String, configuration: BackboneConfiguration? = nil
    ) throws(BackboneError) -> (layout: ParameterLayout, parameters: Tensor) {
        let file: SafeTensors
        do { file = try SafeTensors(contentsOf: path) } catch { throw BackboneError(.file, "\(error)") }
        let layout: ParameterLayout
        if let configuration {
            layout = try ParameterLayout(configuration)
        } else {
            layout = try ParameterLayout(ownConfiguration(of: file, path))
        }
        let parameters = Tensor(uninitialized: Float.self, shape: [layout.count])
        for segment in layout.segments {
            let tensor: Tensor
            do { tensor = try file.tensor(segment.name, .f32, in: path) } catch {
                throw BackboneError(.file, "\(error)")
            }
            guard tensor.shape == segment.shape else {
                throw BackboneError(
                    .file,
                    "\(path): \(segment.name) has shape \(tensor.shape), \(layout.configuration.name) has \(segment.shape)"
                )
            }
            let isFinite = withExtendedLifetime(tensor) {
                pfc_all_finite(tensor.buffer(Float.self).baseAddress, tensor.count) != 0
            }
            guard isFinite else { throw BackboneError(.file, "\(path): \(segment.name) is not finite") }
            withExtendedLifetime(tensor) {
                let target = parameters.mutable(Float.self)
                _ = UnsafeMutableBufferPointer(rebasing: target[segment.range])
                    .update(fromContentsOf: tensor.buffer(Float.self))
            }
        }
        return (layout, parameters)
    }

    private static func ownConfiguration(of file: SafeTensors, _ path: String) throws(BackboneError)
        -> BackboneConfiguration
    {
        guard let text = file.metadata[configurationKey] else {
            throw BackboneError(.file, "\(path): does not say which backbone it holds; name the configuration")
        }
        do { return try JSONDecoder().decode(BackboneConfiguration.self, from: Data(text.utf8)) } catch {
            throw BackboneError(.file, "\(path): has a configuration that cannot be read: \(error)")
        }
    }
}
