internal import Model

extension Importer {
    mutating func clip(_ node: FileNode) throws -> Known {
        let x = try value(node)
        let most = Float.greatestFiniteMagnitude
        let isOld = opset < 11
        let low = try isOld ? node.float("min", -most) : scalar(node, 1) ?? -most
        let high = try isOld ? node.float("max", most) : scalar(node, 2) ?? most
        guard low <= high else { throw Problem("from \(low) to \(high)") }
        if low == 0, high >= most { return .value(try add(node.name, .activation(.relu), [x])) }
        return .value(try add(node.name, .activation(.clip(low, high)), [x]))
    }

    mutating func hardSigmoid(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5))
        if abs(alpha - 1 / 6) < 1e-6, beta == 0.5 { return try add(node.name, .activation(.hardSigmoid), [x]) }
        func number(_ value: Float, _ what: String) -> Graph.Constant {
            .init(
                parameter(
                    .init(name: "\(node.name).\(what)", shape: [1], content: .floats([value])), .frozen))
        }
        let y = try add("\(node.name).scale", .binary(.multiply, constant: number(alpha, "alpha")), [x])
        let z = try add("\(node.name).shift", .binary(.add, constant: number(beta, "beta")), [y])
        return try add(node.name, .activation(.clip(0, 1)), [z])
    }

    /// The one element of a constant.
    func number(_ known: Known) throws -> Float? {
        guard case .constant(let constant) = known, constant.count == 1 else { return nil }
        return try constant.floats().first
    }

    /// erf of a value divided by √2.
    mutating func erf(_ node: FileNode) throws -> Known {
        if case .value(let y) = try input(node, 0), let position = y.node,
            case .binary(let binary, let constant?) = made[position].operation,
            let divisor = try weights[constant.parameter.index].floats().first,
            weights[constant.parameter.index].count == 1,
            binary == .divide && !constant.isFirst && abs(divisor - Float(2).squareRoot()) < 1e-4
                || binary == .multiply && abs(divisor - Float(0.5).squareRoot()) < 1e-4
        {
            return .erf(made[position].inputs[0])
        }
        throw Problem("an error function is read as part of a GELU only")
    }

    private func isHalved(_ value: Graph.Value, of x: Graph.Value) throws -> Bool {
        guard let position = value.node, case .binary(let binary, let constant?) = made[position].operation,
            made[position].inputs == [x], weights[constant.parameter.index].count == 1
        else { return false }
        let number = try weights[constant.parameter.index].floats().first
        return binary == .multiply && number == 0.5 || binary == .divide && !constant.isFirst && number == 2
    }

    /// The steps of a GELU after its error function; nil if they are not ones.
    private mutating func gelu(_ node: FileNode, _ a: Known, _ b: Known) throws -> Known? {
        switch (a, b, node.type) {
        case (.erf(let x), let one, "Add"), (let one, .erf(let x), "Add"):
            return try number(one) == 1 ? .erfPlusOne(x) : nil
        case (.erfPlusOne(let x), .value(let y), "Mul"), (.value(let y), .erfPlusOne(let x), "Mul"):
            if x == y { return .twiceGELU(x) }
            return try isHalved(y, of: x) ? .value(add(node.name, .activation(.gelu), [x])) : nil
        case (.erfPlusOne(let x), let half, "Mul"), (let half, .erfPlusOne(let x), "Mul"):
            return try number(half) == 0.5 ? .halfErfPlusOne(x) : nil
        case (.halfErfPlusOne(let x), .value(let y), "Mul"), (.value(let y), .halfErfPlusOne(let x), "Mul"):
            return x == y ? .value(try add(node.name, .activation(.gelu), [x])) : nil
        case (.twiceGELU(let x), let half, "Mul"), (let half, .twiceGELU(let x), "Mul"):
            return try number(half) == 0.5 ? .value(add(node.name, .activation(.gelu), [x])) : nil
        case (.twiceGELU(let x), let two, "Div"):
            return try number(two) == 2 ? .value(add(node.name, .activation(.gelu), [x])) : nil
        default: return nil
        }
    }

    mutating func binary(_ node: FileNode) throws -> Known {
        let kinds: [String: Graph.Binary] = ["Add": .add, "Sub": .subtract, "Mul": .multiply, "Div": .divide]
        guard let kind = kinds[node.type] else { throw Problem("this operator is not supported") }
        let (a, b) = (try input(node, 0), try input(node, 1))
        if let step = try gelu(node, a, b) { return step }
        if case .constant(var constant) = b {
            let x = try value(node, 0)
            constant.shape = try sampleShape(constant, x)
            let role = self.kind(of: constant, kind, x)
            return .value(try add(node.name, .binary(kind, constant: .init(parameter(constant, role))), [x]))
        }
        if case .constant(var constant) = a {
            let x = try value(node, 1)
            constant.shape = try sampleShape(constant, x)
            let role = self.kind(of: constant, kind, x)
            return .value(
                try add(node.name, .binary(kind, constant: .init(parameter(constant, role), isFirst: true)), [x]))
        }
        let (x, y) = (try value(node, 0), try value(node, 1))
        guard shape(x).count == shape(y).count else { throw Problem("\(shape(x)) and \(shape(y)) do not go together") }
        return .value(try add(node.name, .binary(kind, constant: nil), [x, y]))
    }

    /// Whether a constant is trained: factors and terms of channels are, as in a normalisation that was folded. Single numbers, and what
    /// is done to the image itself, belong to the definition of the network.
    private func kind(of constant: Constant, _ operation: Graph.Binary, _ x: Graph.Value) -> ParameterLayout.Kind {
        let channels = shape(x)[0]
        let extents = [channels] + [Int](repeating: 1, count: shape(x).count - 1)
        let isChannels = channels > 1 && constant.shape == extents && x != .input
        return isChannels && (operation == .multiply || operation == .add) ? .parameter : .frozen
    }

    /// A constant's extents beside a sample, without the batch's.
    private func sampleShape(_ constant: Constant, _ x: Graph.Value) throws -> [Int] {
        var extents = constant.shape
        while extents.count > shape(x).count, extents.first == 1 { extents.removeFirst() }
        guard extents.count <= shape(x).count else { throw Problem("a constant of \(constant.shape) for \(shape(x))") }
        return extents.isEmpty ? [1] : extents
    }

    mutating func sum(_ node: FileNode) throws -> Graph.Value {
        var result = try value(node)
        for index in node.inputs.indices.dropFirst() {
            let next = try value(node, index)
            guard shape(next) == shape(result) else { throw Problem("\(shape(next)) and \(shape(result))") }
            result = try add(
                index == 1 ? node.name : "\(node.name).\(index)", .binary(.add, constant: nil), [result, next])
        }
        return result
    }

    mutating func softmax(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        let axis = try axis(node.integer("axis", opset < 13 ? 1 : -1), x)
        let extents = shape(x)
        // Before operator set 13, over all axes from this one.
        guard opset < 13, extents[(axis + 1)...].contains(where: { $0 != 1 }) else {
            return try add(node.name, .softmax(axis: axis), [x])
        }
        let y = try add("\(node.name).flatten", .reshape(extents[..<axis] + [extents[axis...].reduce(1, *)]), [x])
        return try add("\(node.name).shape", .reshape(extents), [add(node.name, .softmax(axis: axis), [y])])
    }
}
