internal import Foundation
public import Model
public import Tensors

/// Networks as ONNX files, for onnxruntime and from PyTorch.
public enum ONNXFile {
    /// The operator sets that are read.
    public static let opsets = 9...20

    /// Reads a network and its parameters, f32 [P] in the order of the graph.
    ///
    /// Height and width that a file leaves open are taken as `openExtent`; a fixed batch is read as open. Weights may lie in other
    /// files of the model's folder. Nothing in a file is trusted.
    ///
    /// - Throws: `ONNXError` that names the operator, the node and the operator set if the network cannot be a `Graph`.
    public static func read(
        _ path: String, openExtent: Int = 112
    ) throws(ONNXError) -> (graph: Graph, parameters: Tensor) {
        do {
            let message = try ModelMessage(path)
            return try Importer.read(message, openExtent: openExtent)
        } catch let error as BackboneError {
            throw ONNXError(path: path, problem: error.message)
        } catch let problem as Problem {
            throw ONNXError(path: path, problem: problem.text)
        } catch { throw ONNXError(path: path, problem: "\(error)") }
    }

    /// Writes a network for inference: operator set 17, open batch, input `data`, one output.
    ///
    /// - Parameter withNormalization: whether the network takes pixels 0…255 and makes (x − 127.5) / 127.5 of them itself.
    /// - Throws: `ONNXError` if the file cannot be written, or is larger than protobuf allows (2 GB).
    public static func write(
        _ graph: Graph, parameters: Tensor, to path: String, withNormalization: Bool = false
    ) throws(ONNXError) {
        do {
            let data = try ProtoArena.lend { arena in
                try Exporter(
                    graph: graph, parameters: parameters, arena: arena, withNormalization: withNormalization
                ).data()
            }
            try data.write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch let problem as Problem {
            throw ONNXError(path: path, problem: problem.text)
        } catch { throw ONNXError(path: path, problem: "cannot be written: \(error.localizedDescription)") }
    }
}

/// A sentence on its way to an `ONNXError`.
struct Problem: Error {
    let text: String

    init(_ text: String) { self.text = text }
}
