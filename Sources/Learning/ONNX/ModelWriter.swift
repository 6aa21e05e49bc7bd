internal import COnnx
internal import Foundation

/// Collects the nodes and tensors of an ONNX model for inference, in operators of set 17, and packs them.
final class ModelWriter {
    static let opset: Int64 = 17
    static let irVersion: Int64 = 8
    /// The names of the model's input and output.
    static let (input, output) = ("data", "embedding")

    let arena: ProtoArena
    private var nodes: [UnsafeMutablePointer<Onnx__NodeProto>] = []
    private var initializers: [UnsafeMutablePointer<Onnx__TensorProto>] = []
    /// Names that are taken: of tensors and values.
    private var names: Set<String> = [input, output]

    init(_ arena: ProtoArena) { self.arena = arena }

    /// The file of a network of this name, and of these shapes behind the batch.
    func data(name: String, input: [Int], output: [Int]) throws -> Data {
        let model = self.model(name, input, output)
        let size = onnx__model_proto__get_packed_size(model)
        guard size < 1 << 31 else { throw Problem("would have \(size) bytes; protobuf allows 2^31") }
        var data = Data(count: size)
        data.withUnsafeMutableBytes { bytes in
            _ = onnx__model_proto__pack(model, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
        return data
    }

    private func model(
        _ name: String, _ input: [Int], _ output: [Int]
    ) -> UnsafeMutablePointer<Onnx__ModelProto> {
        let body = arena.make(onnx__graph_proto__init) {
            $0.name = arena.text(name)
            $0.n_node = nodes.count
            $0.node = arena.messages(nodes)
            $0.n_initializer = initializers.count
            $0.initializer = arena.messages(initializers)
            $0.n_input = 1
            $0.input = arena.messages([information(Self.input, input)])
            $0.n_output = 1
            $0.output = arena.messages([information(Self.output, output)])
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

    // What models are written with.

    /// What a network reads: `data`, or, where the model takes pixels 0…255, (x − 127.5)/127.5 of it.
    func start(withNormalization: Bool) -> String {
        guard withNormalization else { return Self.input }
        // InsightFace's check takes nodes of these names for a network that normalises itself.
        let centered = node("Sub", "Sub_pixels", [Self.input, floats("pixels.mean", [1], [127.5])])
        return node("Mul", "Mul_pixels", [centered, floats("pixels.scale", [1], [1 / 127.5])])
    }

    /// A name that no other value or tensor has.
    func free(_ wish: String) -> String {
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

    /// - Parameter note: a text that is kept with the tensor.
    func floats(_ name: String, _ shape: [Int], _ values: [Float], note: String? = nil) -> String {
        add(name, shape, type: 1, values, note: note)
    }

    func integers(_ name: String, _ values: [Int]) -> String {
        add(name, [values.count], type: 7, values.map { Int64($0) })
    }

    func signedBytes(_ name: String, _ shape: [Int], _ values: [Int8]) -> String { add(name, shape, type: 3, values) }

    func byte(_ name: String, _ value: UInt8) -> String { add(name, [], type: 2, [value]) }

    private func add<V>(_ name: String, _ shape: [Int], type: Int32, _ values: [V], note: String? = nil) -> String {
        let name = free(name)
        initializer(
            name, shape, type: type, arena.array(values).map { UnsafeMutableRawPointer($0) },
            values.count * MemoryLayout<V>.stride, note: note)
        return name
    }

    /// Adds a tensor of elements at an address that stays.
    func initializer(
        _ name: String, _ shape: [Int], type: Int32, _ memory: UnsafeMutableRawPointer?, _ byteCount: Int,
        note: String? = nil
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
                if let note { $0.doc_string = arena.text(note) }
            })
    }
}
