internal import COnnx
internal import ProcessSupport

/// A node of the file.
struct FileNode {
    /// As people are shown it: layers are called so everywhere.
    let name: String
    let type: String
    let domain: String
    let inputs: [String]
    let outputs: [String]
    private let attributes: [String: Onnx__AttributeProto]

    init(_ proto: Onnx__NodeProto, position: Int) throws {
        type = string(proto.op_type)
        domain = string(proto.domain)
        let own = string(proto.name).printable
        name = own.isEmpty ? "\(type)_\(position)" : own
        inputs = array(proto.input, proto.n_input).map { string($0) }
        outputs = array(proto.output, proto.n_output).map { string($0) }
        var attributes: [String: Onnx__AttributeProto] = [:]
        for attribute in array(proto.attribute, proto.n_attribute) {
            guard let attribute else { continue }
            guard attributes.updateValue(attribute.pointee, forKey: string(attribute.pointee.name)) == nil else {
                throw Problem("\(type) \(name): two attributes \(string(attribute.pointee.name))")
            }
        }
        self.attributes = attributes
    }

    /// The name of an input; nil if it is left out.
    func input(_ index: Int) -> String? {
        inputs.indices.contains(index) && !inputs[index].isEmpty ? inputs[index] : nil
    }

    func has(_ attribute: String) -> Bool { attributes[attribute] != nil }
    func integer(_ name: String, _ other: Int) -> Int {
        attributes[name].map { Int($0.i) } ?? other
    }
    func float(_ name: String, _ other: Float) -> Float { attributes[name].map { $0.f } ?? other }
    func text(_ name: String) -> String? {
        attributes[name].map {
            String(
                decoding: UnsafeBufferPointer(start: $0.s.data, count: $0.s.data == nil ? 0 : $0.s.len), as: UTF8.self)
        }
    }
    func integers(_ name: String) -> [Int]? {
        attributes[name].map { array($0.ints, $0.n_ints).map { Int($0) } }
    }
    func floats(_ name: String) -> [Float]? { attributes[name].map { Array(array($0.floats, $0.n_floats)) } }
    func tensor(_ name: String) -> Onnx__TensorProto? { attributes[name]?.t?.pointee }
}
