internal import COnnx
internal import Model

/// Nodes that are known before the network runs: constants, and the arithmetic of shapes.
extension Importer {
    /// The constant that a node makes; nil if it depends on the image.
    mutating func fold(_ node: FileNode) throws -> Known? {
        func made(_ shape: [Int], _ content: Constant.Content) -> Known {
            .constant(.init(name: node.outputs[0], shape: shape, content: content))
        }
        switch node.type {
        case "Constant":
            if let tensor = node.tensor("value") {
                let stored = try StoredTensor(tensor, name: node.outputs[0], of: message)
                storedCount += stored.count
                return made(stored.shape, .stored(stored))
            }
            if node.has("value_float") { return made([], .floats([node.float("value_float", 0)])) }
            if node.has("value_int") { return made([], .integers([.init(number: node.integer("value_int", 0))])) }
            if let values = node.floats("value_floats"), !values.isEmpty {
                return made([values.count], .floats(values))
            }
            if let values = node.integers("value_ints") {
                return made([values.count], .integers(values.map { .init(number: $0) }))
            }
            throw Problem("a constant that is no tensor of numbers")
        case "Shape":
            let whole: [Extent]
            switch try input(node, 0) {
            case .value(let x):
                whole = [fixedBatch.map { .init(number: $0) } ?? .batch] + shape(x).map { Extent(number: $0) }
            case .constant(let constant): whole = constant.shape.map { Extent(number: $0) }
            default: throw Problem("the shape of a padded value is not supported")
            }
            let start = bound(node.integer("start", 0), whole.count)
            let end = bound(node.integer("end", whole.count), whole.count)
            let part = Array(whole[start..<max(start, end)])
            return made([part.count], .integers(part))
        default: break
        }
        var constants: [Constant] = []
        for index in node.inputs.indices where node.input(index) != nil {
            guard case .constant(let constant) = try input(node, index) else { return nil }
            constants.append(constant)
        }
        guard let first = constants.first else { return nil }
        guard var constant = try fold(node, first, constants) else { return nil }
        if constant.name.isEmpty { constant.name = node.outputs[0] }
        return .constant(constant)
    }

    private mutating func fold(_ node: FileNode, _ first: Constant, _ constants: [Constant]) throws -> Constant? {
        var result = first
        switch node.type {
        case "Identity": return first
        case "QuantizeLinear", "DequantizeLinear": return try foldedCodes(node, first)
        case "Cast":
            // Integers stay ones for shapes, and are floats where floats are read.
            guard [1, 6, 7, 10, 11, 16].contains(node.integer("to", 0)) else {
                throw Problem("a type that is not supported")
            }
            if !first.isInteger, [6, 7].contains(node.integer("to", 0)) {
                let values = try first.floats()
                guard values.count <= 1 << 12, values.allSatisfy({ abs($0) < 0x1p30 }) else {
                    throw Problem("numbers that are no integers")
                }
                try charge(values.count)
                result.content = .integers(values.map { .init(number: Int($0)) })
            }
            return result
        case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
            guard let shape = try foldedShape(node, first) else { return nil }
            if first.isTransposed {
                try charge(first.count)
                result.content = .floats(try first.floats())
                result.isTransposed = false
            }
            result.shape = shape
            return result
        case "Transpose":
            let order = node.integers("perm") ?? Array(first.shape.indices.reversed())
            guard order.sorted() == Array(first.shape.indices) else { throw Problem("an order \(order)") }
            if order == Array(first.shape.indices) { return first }
            if first.isInteger, order == [1, 0] {
                let (rows, columns, elements) = (first.shape[0], first.shape[1], try first.extents())
                try charge(elements.count)
                result.content = .integers((0..<elements.count).map { elements[$0 % rows * columns + $0 / rows] })
                result.shape = [columns, rows]
                return result
            }
            guard order == [1, 0] else { throw Problem("only matrices of weights are transposed") }
            result.shape.reverse()
            result.isTransposed.toggle()
            return result
        case "Gather":
            guard constants.count == 2, first.shape.count == 1, constants[1].shape.count <= 1 else {
                throw Problem("of a constant that is no vector")
            }
            let elements = try first.extents()
            let indices = try constants[1].integers()
            try charge(indices.count)
            let chosen = try indices.map { index in
                let place = index < 0 ? index &+ elements.count : index
                guard elements.indices.contains(place) else { throw Problem("element \(index) of \(elements.count)") }
                return elements[place]
            }
            return Constant(name: "", shape: constants[1].shape, content: .integers(chosen))
        case "ConstantOfShape":
            let shape = try first.integers()
            let value = try node.tensor("value").map { try StoredTensor($0, name: node.outputs[0], of: message) }
            guard let count = shape.first, shape.count == 1, (0...1 << 12).contains(count),
                value?.kind.isInteger != false
            else { throw Problem("only short vectors of integers are made, not \(shape)") }
            try charge(count)
            let number = try value?.integers().first ?? 0
            return Constant(
                name: "", shape: [count], content: .integers([Extent](repeating: Extent(number: number), count: count)))
        case "Slice" where first.isInteger && first.shape.count == 2:
            // How TorchScript turns PyTorch's order of paddings round.
            guard let rows = first.shape.first, try integers(node, "axes", input: 3) == [0],
                try constant(node, 4)?.integers() == [-1], try integers(node, "starts", input: 1) == [-1],
                let end = try integers(node, "ends", input: 2)?.first, end < -rows
            else { throw Problem("of a constant that is no vector") }
            let (elements, columns) = (try first.extents(), first.shape[1])
            try charge(max(elements.count, rows))
            result.content = .integers(
                (0..<rows).reversed().flatMap { elements[$0 * columns..<($0 + 1) * columns] })
            return result
        case "Slice":
            guard first.shape.count == 1, let part = try slices(node).first, part.axis == 0 || part.axis == -1 else {
                throw Problem("of a constant that is no vector")
            }
            let elements = try first.extents()
            let start = bound(part.start, elements.count)
            let chosen = Array(elements[start..<max(start, bound(part.end, elements.count))])
            try charge(chosen.count)
            return Constant(name: "", shape: [chosen.count], content: .integers(chosen))
        case "Concat":
            guard constants.allSatisfy({ $0.shape.count == 1 }),
                node.integer("axis", 0) == 0 || node.integer("axis", 0) == -1
            else { throw Problem("of constants that are no vectors") }
            for constant in constants { try charge(constant.count) }
            let joined = try constants.flatMap { try $0.extents() }
            return Constant(name: "", shape: [joined.count], content: .integers(joined))
        case "Add", "Sub", "Mul", "Div": return try foldedArithmetic(node, constants)
        default: throw Problem("of constants alone, it is not supported")
        }
    }

    private func foldedShape(_ node: FileNode, _ constant: Constant) throws -> [Int]? {
        let shape = constant.shape
        switch node.type {
        case "Squeeze":
            guard let axes = try integers(node, "axes", input: 1) else { return shape.filter { $0 != 1 } }
            let places = Set(axes.map { $0 < 0 ? $0 &+ shape.count : $0 })
            guard places.allSatisfy({ shape.indices.contains($0) && shape[$0] == 1 }) else {
                throw Problem("axes \(axes)")
            }
            return shape.enumerated().filter { !places.contains($0.offset) }.map(\.element)
        case "Unsqueeze":
            let axes = try integers(node, "axes", input: 1) ?? []
            let rank = shape.count + axes.count
            let places = Set(axes.map { $0 < 0 ? $0 &+ rank : $0 })
            guard places.count == axes.count, places.allSatisfy({ (0..<rank).contains($0) }), rank <= 8 else {
                throw Problem("axes \(axes)")
            }
            var left = shape[...]
            return (0..<rank).map { places.contains($0) ? 1 : left.popFirst() ?? 1 }
        case "Flatten":
            let axis = node.integer("axis", 1)
            guard (0...shape.count).contains(axis) else { throw Problem("axis \(axis)") }
            return [shape[..<axis].reduce(1, *), shape[axis...].reduce(1, *)]
        default:
            var wanted = try required(node, 1).integers()
            guard wanted.count <= 8 else { throw Problem("\(wanted.count) axes") }
            for place in wanted.indices where wanted[place] == 0 {
                guard shape.indices.contains(place) else { throw Problem("a 0 where there is no axis") }
                wanted[place] = shape[place]
            }
            var product = 1
            for extent in wanted where extent != -1 {
                let (next, overflow) = product.multipliedReportingOverflow(by: extent)
                guard extent > 0, !overflow else { throw Problem("extents \(wanted)") }
                product = next
            }
            guard constant.count > 0, product <= constant.count else { throw Problem("\(wanted) of \(shape)") }
            let open = wanted.indices.filter { wanted[$0] == -1 }
            if let place = open.first { wanted[place] = constant.count / product }
            let (total, overflow) = product.multipliedReportingOverflow(by: open.first.map { wanted[$0] } ?? 1)
            guard open.count <= 1, !overflow, total == constant.count else { throw Problem("\(wanted) of \(shape)") }
            return wanted
        }
    }

    /// Of numbers, or of tensors with one shape.
    private mutating func foldedArithmetic(_ node: FileNode, _ constants: [Constant]) throws -> Constant {
        guard constants.count == 2 else { throw Problem("\(constants.count) inputs") }
        let (a, b) = (constants[0], constants[1])
        guard a.count == 1 || b.count == 1 || a.shape == b.shape else { throw Problem("\(a.shape) and \(b.shape)") }
        let shape = a.count == 1 && (b.count > 1 || b.shape.count > a.shape.count) ? b.shape : a.shape
        let count = max(a.count, b.count)
        try charge(count)
        if a.isInteger, b.isInteger {
            let (x, y) = (try a.extents(), try b.extents())
            guard min(x.count, y.count) > 0 else { throw Problem("of nothing") }
            var values: [Extent] = []
            for index in 0..<count {
                guard let value = Extent.apply(node.type, x[x.count == 1 ? 0 : index], y[y.count == 1 ? 0 : index])
                else {
                    throw Problem("arithmetic of a shape that overflows, or in which the batch stays")
                }
                values.append(value)
            }
            return Constant(name: "", shape: shape, content: .integers(values))
        }
        let (x, y) = (try a.floats(), try b.floats())
        guard min(x.count, y.count) > 0 else { throw Problem("of nothing") }
        var values: [Float] = []
        for index in 0..<count {
            let (p, q) = (x[x.count == 1 ? 0 : index], y[y.count == 1 ? 0 : index])
            switch node.type {
            case "Add": values.append(p + q)
            case "Sub": values.append(p - q)
            case "Mul": values.append(p * q)
            default: values.append(p / q)
            }
        }
        return Constant(name: "", shape: shape, content: .floats(values))
    }
}
