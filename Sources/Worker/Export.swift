import ArgumentParser
import Foundation
import Model
import ONNX
import ProcessSupport

/// `worker export`.
struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a trained or quantised backbone as an ONNX model.",
        discussion: """
            The model has operator set 17, an open batch, the input "data" [batch, channels, height, width] and one output. It \
            takes pixels as (x - 127.5) / 127.5, or as 0...255 with --with-normalization. A quantised backbone becomes a model with \
            QuantizeLinear and DequantizeLinear around its layers.
            """)

    @Option(help: "The backbone: a safetensors file.", completion: .file(extensions: ["safetensors"]))
    var backbone: String

    @Option(name: .shortAndLong, help: "The ONNX file to write.", completion: .file(extensions: ["onnx"]))
    var output: String

    @Flag(help: "Let the model take pixels 0...255 and normalise them itself.")
    var withNormalization = false

    func validate() throws {
        if let problem = WritablePlace.problem(ofFile: output) {
            throw ValidationError("--output cannot be written: \(problem)")
        }
    }

    func run() throws {
        do {
            switch try LoadedBackbone.read(backbone) {
            case .quantized(let network, let integers):
                try ONNXFile.write(network, integers: integers, to: output, withNormalization: withNormalization)
            case .plain(let layout, let parameters):
                guard let graph = layout.graph else {
                    throw ValidationError("\(backbone) holds no network: its embeddings are the data set's")
                }
                try ONNXFile.write(graph, parameters: parameters, to: output, withNormalization: withNormalization)
            }
        } catch {
            FileHandle.standardError.write(Data("worker export: \(error)\n".utf8))
            throw ExitCode(70)
        }
    }
}
