internal import Model

/// Operators that graphs and folded networks are both written in.
extension ModelWriter {
    /// A node with scalars of its own.
    func activation(_ activation: Graph.Activation, _ name: String, _ x: String, output: String? = nil) -> String {
        func one(_ type: String, _ inputs: [String], _ attributes: [(String, Attribute)] = []) -> String {
            node(type, name, inputs, attributes, output: output)
        }
        func scalar(_ what: String, _ value: Float) -> String { floats("\(name).\(what)", [], [value]) }
        switch activation {
        case .relu: return one("Relu", [x])
        case .clip(let low, let high): return one("Clip", [x, scalar("min", low), scalar("max", high)])
        case .leakyRelu(let slope): return one("LeakyRelu", [x], [("alpha", .float(slope))])
        case .sigmoid: return one("Sigmoid", [x])
        case .tanh: return one("Tanh", [x])
        case .hardSigmoid: return one("HardSigmoid", [x], [("alpha", .float(1 / 6)), ("beta", .float(0.5))])
        case .hardSwish: return one("HardSwish", [x])
        case .gelu:
            // Gelu is an operator from set 20 on.
            let y = node("Div", "\(name).div", [x, scalar("sqrt2", Float(2).squareRoot())])
            let z = node("Add", "\(name).plus", [node("Erf", "\(name).erf", [y]), scalar("one", 1)])
            return one("Mul", [node("Mul", "\(name).mul", [x, z]), scalar("half", 0.5)])
        case .silu: return one("Mul", [x, node("Sigmoid", "\(name).sigmoid", [x])])
        }
    }

    /// The attributes of a convolution.
    func window(
        kernel: Graph.Extent, strides: Graph.Extent, padding: Graph.Padding, dilation: Graph.Extent, groups: Int
    ) -> [(String, Attribute)] {
        [
            ("dilations", .integers([dilation.height, dilation.width])), ("group", .integer(groups)),
            ("kernel_shape", .integers([kernel.height, kernel.width])), ("pads", pads(padding)),
            ("strides", .integers([strides.height, strides.width])),
        ]
    }

    func pooling(_ p: Graph.Pooling, _ name: String, _ x: String, output: String? = nil) -> String {
        var attributes: [(String, Attribute)] = [
            ("ceil_mode", .integer(p.roundsUp ? 1 : 0)),
            ("kernel_shape", .integers([p.kernel.height, p.kernel.width])),
            ("pads", pads(p.padding)), ("strides", .integers([p.strides.height, p.strides.width])),
        ]
        if p.kind == .average { attributes.append(("count_include_pad", .integer(p.countsPadding ? 1 : 0))) }
        return node(p.kind == .average ? "AveragePool" : "MaxPool", name, [x], attributes, output: output)
    }

    /// - Parameter axis: of the file, whose axis 0 is the batch.
    func slice(_ name: String, _ x: String, axis: Int, _ range: Range<Int>, output: String? = nil) -> String {
        node(
            "Slice", name,
            [
                x, integers("\(name).start", [range.lowerBound]), integers("\(name).end", [range.upperBound]),
                integers("\(name).axis", [axis]),
            ], output: output)
    }

    static func type(_ binary: Graph.Binary) -> String {
        switch binary {
        case .add: "Add"
        case .subtract: "Sub"
        case .multiply: "Mul"
        case .divide: "Div"
        }
    }

    private func pads(_ p: Graph.Padding) -> Attribute { .integers([p.top, p.left, p.bottom, p.right]) }
}
