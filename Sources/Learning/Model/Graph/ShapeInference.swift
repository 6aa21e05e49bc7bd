/// Finds the extents of what an operator makes, or says why it cannot be.
///
/// All arithmetic is checked: extents may come from a file.
struct ShapeInference {
    let parameters: [Graph.Parameter]

    /// The most elements that one sample of a value may have.
    static let limit = 1 << 28

    /// - Throws: `BackboneError` that says what does not fit; whoever calls names the node.
    func shape(of operation: Graph.Operation, _ inputs: [[Int]]) throws(BackboneError) -> [Int] {
        if let arity = operation.arity, inputs.count != arity { throw fail("\(inputs.count) inputs, not \(arity)") }
        guard let x = inputs.first else { throw fail("no inputs") }
        let result = try shape(operation, x, inputs)
        var count = 1
        for extent in result {
            let (product, overflow) = count.multipliedReportingOverflow(by: extent)
            guard extent > 0, !overflow, product <= Self.limit else {
                throw fail("its output \(result) is empty, or has more than \(Self.limit) elements")
            }
            count = product
        }
        return result
    }

    private func shape(
        _ operation: Graph.Operation, _ x: [Int], _ inputs: [[Int]]
    ) throws(BackboneError) -> [Int] {
        switch operation {
        case .convolution(let convolution): return try self.convolution(convolution, x)
        case .batchNormalization(let n):
            for id in [n.weight, n.bias, n.mean, n.variance] { try vector(id, x.first ?? 0) }
            guard n.epsilon >= 0, n.epsilon.isFinite else { throw fail("an epsilon of \(n.epsilon)") }
            return x
        case .linear(let weight, let bias):
            let shape = try parameter(weight).shape
            guard shape.count == 2, let last = x.last, shape[1] == last else {
                throw fail("a weight of \(shape) for inputs of \(x)")
            }
            if let bias { try vector(bias, shape[0]) }
            return x.dropLast() + [shape[0]]
        case .prelu(let slope):
            let slope = try parameter(slope)
            guard slope.count == 1 || slope.count == x.first else {
                throw fail("slopes of \(slope.shape) for \(x)")
            }
            return x
        case .binary(_, let constant):
            let other = if let constant { try parameter(constant.parameter).shape } else { inputs[1] }
            guard let shape = Self.broadcast(x, other) else { throw fail("\(x) and \(other) do not go together") }
            if constant != nil, shape != x { throw fail("a constant of \(other) would widen \(x)") }
            return shape
        case .concatenation(let axis): return try concatenation(axis, inputs)
        case .slice(let axis, let range):
            guard x.indices.contains(axis), range.lowerBound >= 0, range.upperBound <= x[axis], !range.isEmpty else {
                throw fail("elements \(range) of axis \(axis) of \(x)")
            }
            return x.enumerated().map { $0.offset == axis ? range.count : $0.element }
        case .pooling(let pooling): return try self.pooling(pooling, x)
        case .globalPooling:
            guard x.count == 3 else { throw fail("\(x) is no image") }
            return [x[0], 1, 1]
        case .reshape(let shape):
            guard Self.product(shape) == Self.product(x) else { throw fail("\(x) has not the elements of \(shape)") }
            return shape
        case .transpose(let order):
            guard order.sorted() == Array(x.indices) else { throw fail("an order \(order) of axes for \(x)") }
            return order.map { x[$0] }
        case .matrixProduct: return try matrixProduct(inputs[0], inputs[1])
        case .softmax(let axis):
            guard x.indices.contains(axis) else { throw fail("axis \(axis) of \(x)") }
            return x
        case .layerNormalization(let weight, let bias, let epsilon):
            let shape = try parameter(weight).shape
            guard !shape.isEmpty, x.suffix(shape.count) == shape[...], epsilon >= 0, epsilon.isFinite else {
                throw fail("a weight of \(shape) for \(x), with epsilon \(epsilon)")
            }
            if let bias, try parameter(bias).shape != shape { throw fail("a bias of another shape than the weight") }
            return x
        case .activation, .dropout: return x
        }
    }

    private func convolution(_ c: Graph.Convolution, _ x: [Int]) throws(BackboneError) -> [Int] {
        let weight = try parameter(c.weight).shape
        guard x.count == 3 else { throw fail("\(x) is no image [channels, height, width]") }
        guard weight.count == 4, c.groups > 0, weight[0] % c.groups == 0, x[0] % c.groups == 0,
            weight[1] == x[0] / c.groups
        else { throw fail("a weight of \(weight) in \(c.groups) groups for \(x[0]) channels") }
        if let bias = c.bias { try vector(bias, weight[0]) }
        return [
            weight[0],
            try window(
                x[1], kernel: weight[2], stride: c.strides.height, before: c.padding.top, after: c.padding.bottom,
                dilation: c.dilation.height),
            try window(
                x[2], kernel: weight[3], stride: c.strides.width, before: c.padding.left, after: c.padding.right,
                dilation: c.dilation.width),
        ]
    }

    private func pooling(_ p: Graph.Pooling, _ x: [Int]) throws(BackboneError) -> [Int] {
        guard x.count == 3 else { throw fail("\(x) is no image [channels, height, width]") }
        guard max(p.padding.top, p.padding.bottom) < p.kernel.height,
            max(p.padding.left, p.padding.right) < p.kernel.width
        else { throw fail("windows that lie in the padding alone") }
        return [
            x[0],
            try window(
                x[1], kernel: p.kernel.height, stride: p.strides.height, before: p.padding.top,
                after: p.padding.bottom, roundsUp: p.roundsUp),
            try window(
                x[2], kernel: p.kernel.width, stride: p.strides.width, before: p.padding.left,
                after: p.padding.right, roundsUp: p.roundsUp),
        ]
    }

    /// The positions of a window along one axis.
    private func window(
        _ extent: Int, kernel: Int, stride: Int, before: Int, after: Int, dilation: Int = 1, roundsUp: Bool = false
    ) throws(BackboneError) -> Int {
        let most = 1 << 16
        guard (1...most).contains(kernel), (1...most).contains(stride), (1...most).contains(dilation),
            (0...most).contains(before), (0...most).contains(after), extent <= Self.limit
        else {
            throw fail(
                "a kernel of \(kernel), stride \(stride), dilation \(dilation), padding \(before) and \(after): 1…\(most) are allowed"
            )
        }
        let room = extent + before + after - (dilation * (kernel - 1) + 1)
        guard room >= 0 else { throw fail("a window that is larger than its image of \(extent) pixels") }
        var positions = room / stride + 1
        // A window that would start in the padding behind the image is none.
        if roundsUp, room % stride != 0, positions * stride < extent + before { positions += 1 }
        return positions
    }

    private func concatenation(_ axis: Int, _ inputs: [[Int]]) throws(BackboneError) -> [Int] {
        var result = inputs[0]
        guard result.indices.contains(axis) else { throw fail("axis \(axis) of \(result)") }
        for next in inputs.dropFirst() {
            guard next.count == result.count, next.indices.allSatisfy({ $0 == axis || next[$0] == result[$0] }) else {
                throw fail("\(next) cannot be joined with \(inputs[0]) along axis \(axis)")
            }
            guard result[axis] <= Self.limit else { break }
            result[axis] += next[axis]
        }
        return result
    }

    private func matrixProduct(_ a: [Int], _ b: [Int]) throws(BackboneError) -> [Int] {
        guard a.count >= 2, b.count == a.count, a.dropLast(2) == b.dropLast(2), a[a.count - 1] == b[b.count - 2] else {
            throw fail("\(a) cannot be multiplied by \(b)")
        }
        return a.dropLast() + [b[b.count - 1]]
    }

    private func parameter(_ id: Graph.ParameterID) throws(BackboneError) -> Graph.Parameter {
        guard parameters.indices.contains(id.index) else { throw fail("no parameter \(id.index)") }
        return parameters[id.index]
    }

    private func vector(_ id: Graph.ParameterID, _ count: Int) throws(BackboneError) {
        let found = try parameter(id)
        guard found.shape == [count] else { throw fail("\(found.name) is \(found.shape), not [\(count)]") }
    }

    private func fail(_ problem: String) -> BackboneError { BackboneError(.invalidConfiguration, problem) }

    /// The extents that two operands are widened to, from the right; nil if they do not fit.
    static func broadcast(_ a: [Int], _ b: [Int]) -> [Int]? {
        let count = max(a.count, b.count)
        let (x, y) = (pad(a, to: count), pad(b, to: count))
        var result: [Int] = []
        for (one, other) in zip(x, y) {
            guard one == other || one == 1 || other == 1 else { return nil }
            result.append(max(one, other))
        }
        return result
    }

    /// Extents of 1 in front, up to `count`.
    static func pad(_ shape: [Int], to count: Int) -> [Int] {
        [Int](repeating: 1, count: max(0, count - shape.count)) + shape
    }

    /// The elements, or nil if there are too many.
    static func product(_ shape: [Int]) -> Int? {
        var count = 1
        for extent in shape {
            let (next, overflow) = count.multipliedReportingOverflow(by: extent)
            guard extent > 0, !overflow, next <= limit else { return nil }
            count = next
        }
        return count
    }
}
