internal import Inference
internal import Model

/// Codes of a file and what they stand for: (code − zero)·reciprocal, where reciprocal is ONNX's scale.
struct EncodedConstant {
    let codes: Constant
    let scales: ScaleAxis

    func floats() throws -> [Float] {
        let values = try codes.floats()
        return values.indices.map {
            let (reciprocal, zero) = scales[$0]
            return (values[$0] - zero) * reciprocal
        }
    }

    /// Codes less their zero.
    ///
    /// - Throws: `Problem` if one is not in −127…127.
    func centered() throws -> [Float] {
        let values = try codes.floats()
        return try values.indices.map {
            let code = values[$0] - scales[$0].zero
            guard abs(code) <= 127, code == code.rounded() else {
                throw Problem(
                    "the weight \(codes.name) has the code \(values[$0]), \(code) from its zero point; ±127 are read: quantise weights symmetrically"
                )
            }
            return code
        }
    }
}

/// Which of the scales each element of a constant has.
struct ScaleAxis {
    let format: CodeFormat
    let axis: Int
    /// Elements from one with a scale to the one that has the next.
    private let inner: Int

    /// - Throws: `Problem` if the scales do not lie along an axis.
    init(_ format: CodeFormat, of constant: Constant, axis: Int) throws {
        let place = axis < 0 ? axis &+ constant.shape.count : axis
        self.format = format
        self.axis = place
        guard format.reciprocals.count > 1 else {
            inner = 1
            return
        }
        guard constant.shape.indices.contains(place), constant.shape[place] == format.reciprocals.count,
            !constant.isTransposed
        else { throw Problem("\(format.reciprocals.count) scales along axis \(axis) of \(constant.shape)") }
        inner = constant.shape[(place + 1)...].reduce(1, *)
    }

    subscript(element: Int) -> (reciprocal: Float, zero: Float) {
        let index = element / inner % format.reciprocals.count
        return (format.reciprocals[index], format.zeros[index])
    }
}

/// Scales and zero points of a QuantizeLinear or DequantizeLinear.
struct CodeFormat {
    /// ONNX's scales.
    let reciprocals: [Float]
    /// As many as scales.
    let zeros: [Float]
    /// What the zero point's elements are; nil if it is left out.
    let kind: StoredTensor.Kind?
    /// The text that is kept with the scales.
    let note: String

    /// Scales, which multiply, and bits.
    var scales: (values: [Float], bits: Int, isNoted: Bool) {
        if let noted = ScaleNote.read(note, reciprocals: reciprocals) { return (noted.scales, noted.bits, true) }
        return (reciprocals.map { 1 / $0 }, 8, false)
    }

    /// The least and the largest code.
    func codes(unsignedByDefault: Bool) throws -> ClosedRange<Float> {
        switch kind {
        case .int8: return -128...127
        case .uint8: return 0...255
        case nil where unsignedByDefault: return 0...255
        default: throw Problem("codes that are neither int8 nor uint8")
        }
    }
}

/// What stands between a QuantizeLinear and its DequantizeLinear.
struct EncodedValue {
    /// What is encoded.
    let value: Graph.Value
    let encoding: Encoding
    let format: CodeFormat
}

/// A value that was encoded and decoded.
struct DecodedValue {
    /// For layers in integers, which encode it themselves.
    let value: Graph.Value
    /// For everything else: held to the numbers that have codes, and not rounded.
    let held: Graph.Value
    let encoding: Encoding
}

/// How a node of the graph is computed in integers: its weights are codes.
struct IntegerNode {
    let input: Encoding
    /// One, or one for each output.
    let weightScales: [Float]
}
