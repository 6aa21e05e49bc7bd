internal import Foundation
public import Inference
public import Model
public import Tensors

/// Networks as ONNX files, for onnxruntime and from PyTorch.
public enum ONNXFile {
    /// The operator sets that are read.
    public static let opsets = 9...20

    /// A network of a file.
    public enum Network {
        /// Parameters are f32 [P] in the order of the graph.
        case graph(Graph, parameters: Tensor)
        /// Layers between QuantizeLinear and DequantizeLinear in integers.
        case quantized(FoldedNetwork, integers: [IntegerLayer?])
    }

    /// Reads a network and its parameters, f32 [P] in the order of the graph.
    ///
    /// Height and width that a file leaves open are `openHeight` and `openWidth`, which is the height unless given; a fixed batch is read as open. Weights may lie in other
    /// files of the model's folder. Nothing in a file is trusted.
    ///
    /// - Throws: `ONNXError` that names the operator, the node and the operator set if the network cannot be a `Graph`, or if it is
    ///   quantised.
    public static func read(
        _ path: String, openHeight: Int = 112, openWidth: Int? = nil
    ) throws(ONNXError) -> (graph: Graph, parameters: Tensor) {
        guard
            case .graph(let graph, let parameters) = try readNetwork(path, openHeight: openHeight, openWidth: openWidth)
        else {
            throw ONNXError(path: path, problem: "is quantised; a network in single precision is needed")
        }
        return (graph, parameters)
    }

    /// Reads a network as `read` does, or one in integers.
    ///
    /// - Throws: `ONNXError` that names the node if the network cannot be read, or not in integers where it has codes.
    public static func readNetwork(
        _ path: String, openHeight: Int = 112, openWidth: Int? = nil
    ) throws(ONNXError) -> Network {
        try naming(path) {
            let message = try ModelMessage(path)
            let result = try Importer.read(message, openHeight: openHeight, openWidth: openWidth ?? openHeight)
            if result.integers.isEmpty { return .graph(result.graph, parameters: result.parameters) }
            let (network, integers) = try Importer.folded(result.graph, result.parameters, result.integers)
            return .quantized(network, integers: integers)
        }
    }

    /// Writes a network for inference: operator set 17, open batch, input `data`, one output.
    ///
    /// - Parameter withNormalization: whether the network takes pixels 0…255 and makes (x − 127.5) / 127.5 of them itself.
    /// - Throws: `ONNXError` if the file cannot be written, or is larger than protobuf allows (2 GB).
    public static func write(
        _ graph: Graph, parameters: Tensor, to path: String, withNormalization: Bool = false
    ) throws(ONNXError) {
        try naming(path) {
            let data = try ProtoArena.lend { arena in
                try Exporter(
                    graph: graph, parameters: parameters, arena: arena, withNormalization: withNormalization
                ).data()
            }
            try write(data, to: path)
        }
    }

    /// Writes a network in integers: like `write`, with codes between QuantizeLinear and DequantizeLinear.
    ///
    /// `readNetwork` gives the same network, bit for bit.
    ///
    /// - Parameter integers: by layer; nil where one is computed in single precision.
    /// - Throws: `ONNXError` if the file cannot be written, or is larger than protobuf allows (2 GB).
    public static func write(
        _ network: FoldedNetwork, integers: [IntegerLayer?], to path: String, withNormalization: Bool = false
    ) throws(ONNXError) {
        try naming(path) {
            let data = try ProtoArena.lend { arena in
                try QuantizedExporter(network, integers: integers, arena: arena).data(
                    withNormalization: withNormalization)
            }
            try write(data, to: path)
        }
    }

    private static func write(_ data: Data, to path: String) throws {
        do { try data.write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
            throw Problem("cannot be written: \(error.localizedDescription)")
        }
    }

    /// Turns what `body` throws into an `ONNXError` that names the file.
    private static func naming<Result>(_ path: String, _ body: () throws -> Result) throws(ONNXError) -> Result {
        do { return try body() } catch let error as BackboneError {
            throw ONNXError(path: path, problem: error.message)
        } catch let problem as Problem {
            throw ONNXError(path: path, problem: problem.text)
        } catch { throw ONNXError(path: path, problem: "\(error)") }
    }
}

/// A sentence on its way to an `ONNXError`.
struct Problem: Error {
    let text: String

    init(_ text: String) { self.text = text }
}
