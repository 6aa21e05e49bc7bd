internal import Foundation
internal import Model
internal import Tensors

/// Writes a graph as an ONNX model for inference.
final class Exporter {
    private let graph: Graph
    private let parameters: Tensor
    let file: ModelWriter
    private let withNormalization: Bool
    /// The names of values, by their index.
    private var values: [String] = []
    private let layout: ParameterLayout
    private var written: [String: String] = [:]

    init(graph: Graph, parameters: Tensor, arena: ProtoArena, withNormalization: Bool) throws {
        layout = ParameterLayout(graph)
        guard parameters.dtype == .f32, parameters.shape == [layout.count] else {
            throw Problem(
                "parameters are \(parameters.dtype) \(parameters.shape); \(graph.name) has f32 [\(layout.count)]")
        }
        self.graph = graph
        self.parameters = parameters
        file = ModelWriter(arena)
        self.withNormalization = withNormalization
    }

    /// The file.
    func data() throws -> Data {
        values = [file.start(withNormalization: withNormalization)]
        for (position, node) in graph.nodes.enumerated() {
            values.append(try write(node, isLast: position + 1 == graph.output.index))
        }
        if values[graph.output.index] != ModelWriter.output {
            _ = file.node("Identity", ModelWriter.output, [values[graph.output.index]], output: ModelWriter.output)
        }
        defer { withExtendedLifetime(parameters) {} }
        return try file.data(name: graph.name, input: graph.inputShape, output: graph.outputShape)
    }

    // What nodes are written with.

    func shape(_ value: Graph.Value) -> [Int] { graph.shape(of: value) }
    func name(_ value: Graph.Value) -> String { values[value.index] }
    func shape(_ id: Graph.ParameterID) -> [Int] { graph[id].shape }

    /// A parameter under its name, under other extents if given.
    func tensor(_ id: Graph.ParameterID, shape: [Int]? = nil) -> String {
        let parameter = graph[id]
        let extents = shape ?? parameter.shape
        let key = "\(id.index) \(extents)"
        if let name = written[key] { return name }
        let name = file.free(parameter.name)
        written[key] = name
        let first = parameters.rows(layout[id].range).rawPointer
        file.initializer(name, extents, type: 1, first, parameter.count * 4)
        return name
    }
}
