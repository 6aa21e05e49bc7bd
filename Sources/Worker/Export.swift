import ArgumentParser
import Foundation
import Inference
import Model
import ONNX
import ProcessSupport
import Quantization

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

    @Option(name: .shortAndLong, help: "The file to write.", completion: .file(extensions: ["onnx", "table"]))
    var output: String

    @Flag(help: "Let the model take pixels 0...255 and normalise them itself.")
    var withNormalization = false

    @Option(
        help:
            "Write ncnn's calibration table of a quantised backbone, for the network in this .param file of ncnn's converter.",
        completion: .file(extensions: ["param"]))
    var ncnnParam: String?

    func validate() throws {
        if withNormalization, ncnnParam != nil {
            throw ValidationError("--with-normalization and --ncnn-param exclude each other")
        }
        if let problem = WritablePlace.problem(ofFile: output) {
            throw ValidationError("--output cannot be written: \(problem)")
        }
        try Overwriting.refuse([("--output", output)], inputs: [backbone, ncnnParam])
    }

    func run() throws {
        do {
            switch try LoadedBackbone.read(backbone) {
            case .quantized(let network, let integers):
                if let ncnnParam {
                    try writeTable(network, integers, ncnnParam)
                } else {
                    try ONNXFile.write(network, integers: integers, to: output, withNormalization: withNormalization)
                }
            case .plain(let layout, let parameters):
                guard ncnnParam == nil else {
                    throw ValidationError("\(backbone) is not quantised: a calibration table needs its scales")
                }
                guard let graph = layout.graph else {
                    throw ValidationError("\(backbone) holds no network: its embeddings are the data set's")
                }
                try ONNXFile.write(graph, parameters: parameters, to: output, withNormalization: withNormalization)
            }
            let size = try FileManager.default.attributesOfItem(atPath: output)[.size] as? Int
            print("\(output): \(ncnnParam == nil ? "ONNX" : "calibration table of ncnn"), \(Units.bytes(size ?? 0))")
        } catch {
            Shown.failure("export", error)
            throw ExitCode(70)
        }
    }

    private func writeTable(_ network: FoldedNetwork, _ integers: [IntegerLayer?], _ path: String) throws {
        // Text of a line per layer: a larger file is something else.
        let limit = 1 << 24
        guard let file = FileHandle(forReadingAtPath: path), let data = try file.read(upToCount: limit + 1),
            data.count <= limit
        else { throw ValidationError("\(path) cannot be read, or is no .param file") }
        let table: String
        do throws(CalibrationTable.Problem) {
            table = try CalibrationTable.text(
                network, integers: integers, parameters: String(decoding: data, as: UTF8.self))
        } catch { throw BackboneError(.file, "\(path): \(error)") }
        try table.write(toFile: output, atomically: true, encoding: .utf8)
    }
}
