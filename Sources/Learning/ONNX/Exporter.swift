internal import COnnx
internal import Foundation
internal import Model
internal import Tensors

/// Writes a graph as an ONNX model for inference, in operators of set 17.
final class Exporter {
    static let opset: Int64 = 17
    static let irVersion: Int64 = 8

    private let graph: Graph
    private let parameters: Tensor
    let arena: ProtoArena
    private let withNormalization: Bool
    private var nodes: [UnsafeMutablePointer<Onnx__NodeProto>] = []
    private var initializers: [UnsafeMutablePointer<Onnx__TensorProto>] = []
    /// The names of values, by their index.
    private var values: [String] = []
    /// Names that are taken: of tensors and values.
    private var names: Set<String> = ["data", "embedding"]
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
        self.arena = arena
        self.withNormalization = withNormalization
    }

    /// The file.
    func data() throws -> Data {
        var input = "data"
        if withNormalization {
            // InsightFace's check takes nodes of these names for a network that normalises itself.
            input = node("Sub", "Sub_pixels", [input, floats("pixels.mean", [1], [127.5])])
            input = node("Mul", "Mul_pixels", [input, floats("pixels.scale", [1], [1 / 127.5])])
        }
        values = [input]
        for (position, node) in graph.nodes.enumerated() {
            values.append(try write(node, isLast: position + 1 == graph.output.index))
        }
        if values[graph.output.index] != "embedding" {
            _ = node("Identity", "embedding", [values[graph.output.index]], output: "embedding")
        }
        let model = self.model()
        let size = onnx__model_proto__get_packed_size(model)
        guard size < 1 << 31 else { throw Problem("would have \(size) bytes; protobuf allows 2^31") }
        var data = Data(count: size)
        data.withUnsafeMutableBytes { bytes in
            _ = onnx__model_proto__pack(model, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
        withExtendedLifetime(parameters) {}
        return data
    }

    private func model() -> UnsafeMutablePointer<Onnx__ModelProto> {
        let body = arena.make(onnx__graph_proto__init) {
            $0.name = arena.text(graph.name)
            $0.n_node = nodes.count
            $0.node = arena.messages(nodes)
            $0.n_initializer = initializers.count
            $0.initializer = arena.messages(initializers)
            $0.n_input = 1
            $0.input = arena.messages([information("data", graph.inputShape)])
            $0.n_output = 1
            $0.output = arena.messages([information("embedding", graph.outputShape)])
        }
        let opset = arena.make(onnx__operator_set_id_proto__init) {
            $0.domain = arena.text("")
            $0.has_version = 1
            $0.version = Self.opset
        }
        return arena.make(onnx__model_proto__init) {
            $0.has_ir_version = 1
            $0.ir_version = Self.irVersion
            $0.producer_name = arena.text("PartialFC")
            $0.graph = body
            $0.n_opset_import = 1
            $0.opset_import = arena.messages([opset])
        }
    }

    private func information(_ name: String, _ shape: [Int]) -> UnsafeMutablePointer<Onnx__ValueInfoProto> {
        let batch = arena.make(onnx__tensor_shape_proto__dimension__init) { $0.dim_param = arena.text("batch") }
        let extents = shape.map { extent in
            arena.make(onnx__tensor_shape_proto__dimension__init) {
                $0.has_dim_value = 1
                $0.dim_value = Int64(extent)
            }
        }
        let shape = arena.make(onnx__tensor_shape_proto__init) {
            $0.n_dim = extents.count + 1
            $0.dim = arena.messages([batch] + extents)
        }
        let tensor = arena.make(onnx__type_proto__tensor__init) {
            $0.has_elem_type = 1
            $0.elem_type = 1
            $0.shape = shape
        }
        let type = arena.make(onnx__type_proto__init) { $0.tensor_type = tensor }
        return arena.make(onnx__value_info_proto__init) {
            $0.name = arena.text(name)
            $0.type = type
        }
    }

    // What nodes are written with.

    func shape(_ value: Graph.Value) -> [Int] { graph.shape(of: value) }
    func name(_ value: Graph.Value) -> String { values[value.index] }
    func shape(_ id: Graph.ParameterID) -> [Int] { graph[id].shape }

    /// A name that no other value or tensor has.
    private func free(_ wish: String) -> String {
        var (name, number) = (wish, 2)
        while !names.insert(name).inserted {
            name = "\(wish)#\(number)"
            number += 1
        }
        return name
    }

    enum Attribute {
        case integer(Int)
        case float(Float)
        case integers([Int])
    }

    /// Adds a node, and returns the name of what it makes.
    func node(
        _ type: String, _ name: String, _ inputs: [String], _ attributes: [(String, Attribute)] = [],
        output: String? = nil
    ) -> String {
        let result = output ?? free(name)
        let attributes = attributes.map { key, value in
            arena.make(onnx__attribute_proto__init) {
                $0.name = arena.text(key)
                $0.has_type = 1
                switch value {
                case .integer(let number):
                    ($0.has_i, $0.i, $0.type) = (1, Int64(number), 2)
                case .float(let number):
                    ($0.has_f, $0.f, $0.type) = (1, number, 1)
                case .integers(let numbers):
                    $0.n_ints = numbers.count
                    $0.ints = arena.array(numbers.map { Int64($0) })
                    $0.type = 7
                }
            }
        }
        nodes.append(
            arena.make(onnx__node_proto__init) {
                $0.op_type = arena.text(type)
                $0.name = arena.text(name)
                $0.n_input = inputs.count
                $0.input = arena.texts(inputs)
                $0.n_output = 1
                $0.output = arena.texts([result])
                $0.n_attribute = attributes.count
                $0.attribute = arena.messages(attributes)
            })
        return result
    }

    /// A parameter under its name, under other extents if given.
    func tensor(_ id: Graph.ParameterID, shape: [Int]? = nil) -> String {
        let parameter = graph[id]
        let extents = shape ?? parameter.shape
        let key = "\(id.index) \(extents)"
        if let name = written[key] { return name }
        let name = free(parameter.name)
        written[key] = name
        let first = parameters.rows(layout[id].range).rawPointer
        initializer(name, extents, type: 1, first, parameter.count * 4)
        return name
    }

    func floats(_ name: String, _ shape: [Int], _ values: [Float]) -> String {
        let name = free(name)
        initializer(name, shape, type: 1, arena.array(values).map { UnsafeMutableRawPointer($0) }, values.count * 4)
        return name
    }

    func integers(_ name: String, _ values: [Int]) -> String {
        let name = free(name)
        let memory = arena.array(values.map { Int64($0) }).map { UnsafeMutableRawPointer($0) }
        initializer(name, [values.count], type: 7, memory, values.count * 8)
        return name
    }

    private func initializer(
        _ name: String, _ shape: [Int], type: Int32, _ memory: UnsafeMutableRawPointer?, _ byteCount: Int
    ) {
        initializers.append(
            arena.make(onnx__tensor_proto__init) {
                $0.name = arena.text(name)
                $0.n_dims = shape.count
                $0.dims = arena.array(shape.map { Int64($0) })
                $0.has_data_type = 1
                $0.data_type = type
                $0.has_raw_data = 1
                $0.raw_data.data = memory?.assumingMemoryBound(to: UInt8.self)
                $0.raw_data.len = byteCount
            })
    }
}
