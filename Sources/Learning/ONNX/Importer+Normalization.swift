internal import Model

/// Layer normalisation written out, as PyTorch's exporter does before operator set 17:
/// m = ReduceMean(x), d = x − m, v = ReduceMean(d²), d / Sqrt(v + ε), · weight, + bias.
extension Importer {
    /// The value of a step, of a value's last axes.
    enum NormalizationStep {
        case mean
        case centred
        case squared
        case variance
        case shiftedVariance(epsilon: Float)
        case deviation(epsilon: Float)
    }

    /// A layer normalisation that the next product or sum may add its weight or bias to.
    struct Normalized {
        let input: Graph.Value
        let axes: Int
        let epsilon: Float
        /// Nil before the weight.
        var weight: Graph.ParameterID?
    }

    /// What a node is as a step of a layer normalisation; nil if it is none.
    mutating func normalization(_ node: FileNode) throws -> Known? {
        let a = node.input(0).flatMap { known[$0] }
        let b = node.input(1).flatMap { known[$0] }
        switch (node.type, a, b) {
        case ("ReduceMean", .value(let x), _):
            guard let axes = try lastAxes(node, of: x), isCentring(node) else { return nil }
            return .normalization(.mean, x, axes: axes)
        case ("ReduceMean", .normalization(.squared, let x, let axes), _):
            guard try lastAxes(node, of: x) == axes else { throw Problem("other axes than those of the mean") }
            return .normalization(.variance, x, axes: axes)
        case ("Sub", .value(let x), .normalization(.mean, let y, let axes)) where x == y:
            return .normalization(.centred, x, axes: axes)
        case ("Pow", .normalization(.centred, let x, let axes), _):
            guard try scalar(node, 1) == 2 else { throw Problem("an exponent that is not 2") }
            return .normalization(.squared, x, axes: axes)
        case ("Mul", .normalization(.centred, let x, let axes), .normalization(.centred, let y, let others))
        where x == y && axes == others:
            return .normalization(.squared, x, axes: axes)
        case ("Add", .normalization(.variance, let x, let axes), let other?),
            ("Add", let other?, .normalization(.variance, let x, let axes)):
            guard let epsilon = try number(other), epsilon >= 0, epsilon.isFinite else { return nil }
            return .normalization(.shiftedVariance(epsilon: epsilon), x, axes: axes)
        case ("Sqrt", .normalization(.shiftedVariance(let epsilon), let x, let axes), _):
            return .normalization(.deviation(epsilon: epsilon), x, axes: axes)
        case (
            "Div", .normalization(.centred, let x, let axes), .normalization(.deviation(let epsilon), let y, let others)
        ) where x == y && axes == others:
            return .value(try normalize(node, Normalized(input: x, axes: axes, epsilon: epsilon)))
        case ("Mul", .value(let x), .constant(let factor)), ("Mul", .constant(let factor), .value(let x)):
            guard var found = normalized[x], found.weight == nil,
                let shape = lastExtents(factor, found), !factor.isTransposed
            else { return nil }
            found.weight = parameter(factor, shape: shape)
            return .value(try normalize(node, found))
        case ("Add", .value(let x), .constant(let term)), ("Add", .constant(let term), .value(let x)):
            guard let found = normalized[x], let weight = found.weight, let shape = lastExtents(term, found),
                !term.isTransposed
            else { return nil }
            let bias = parameter(term, shape: shape)
            return .value(
                try add(
                    node.name, .layerNormalization(weight: weight, bias: bias, epsilon: found.epsilon), [found.input]))
        default: return nil
        }
    }

    /// Whether what reads a mean takes it from what it is of: pooling has other readers.
    private func isCentring(_ node: FileNode) -> Bool {
        guard let readers = readers[node.outputs[0]] else { return false }
        return readers.contains {
            nodes[$0].type == "Sub" && nodes[$0].inputs == [node.inputs[0], node.outputs[0]]
        }
    }

    /// How many of the last axes of a sample a mean is over; nil if it is over others, or does not keep them.
    private func lastAxes(_ node: FileNode, of x: Graph.Value) throws -> Int? {
        guard node.integer("keepdims", 1) != 0, let axes = try integers(node, "axes", input: 1) else { return nil }
        let rank = shape(x).count
        let places = try axes.map { try axis($0, x) }.sorted()
        return places == Array(rank - places.count..<rank) && !places.isEmpty ? places.count : nil
    }

    /// The extents of a constant, if they are those of the axes.
    private func lastExtents(_ constant: Constant, _ found: Normalized) -> [Int]? {
        let extents = Array(shape(found.input).suffix(found.axes))
        var own = constant.shape
        while own.count > extents.count, own.first == 1 { own.removeFirst() }
        return own == extents ? extents : nil
    }

    /// A normalisation, with ones for its weight if there is none yet. If a node adds a weight or a bias, nobody reads this value.
    private mutating func normalize(_ node: FileNode, _ found: Normalized) throws -> Graph.Value {
        let weight: Graph.ParameterID
        if let known = found.weight {
            weight = known
        } else {
            let extents = Array(shape(found.input).suffix(found.axes))
            let count = extents.reduce(1, *)
            try charge(count)
            let ones = Constant(
                name: "\(node.name).weight", shape: extents, content: .floats([Float](repeating: 1, count: count)))
            weight = parameter(ones, .frozen)
        }
        let value = try add(
            node.name, .layerNormalization(weight: weight, bias: nil, epsilon: found.epsilon), [found.input])
        normalized[value] = found
        return value
    }
}
