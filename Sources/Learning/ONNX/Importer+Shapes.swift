internal import Model

extension Importer {
    mutating func reshaped(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        let extents = shape(x)
        let target: [Int]
        switch node.type {
        case "Flatten":
            let rank = extents.count + 1
            let axis = node.integer("axis", 1)
            guard axis == 1 || axis == 1 - rank else {
                throw Problem("axis \(axis): the batch is axis 0, and stays one")
            }
            target = [extents.reduce(1, *)]
        case "Squeeze":
            if let axes = try integers(node, "axes", input: 1) {
                let places = Set(try axes.map { try axis($0, x) })
                guard places.allSatisfy({ extents[$0] == 1 }) else { throw Problem("axes \(axes) of \(extents)") }
                target = extents.enumerated().filter { !places.contains($0.offset) }.map(\.element)
            } else {
                guard fixedBatch != 1 else { throw Problem("it would take the batch away: name its axes") }
                target = extents.filter { $0 != 1 }
            }
        case "Unsqueeze":
            let axes = try integers(node, "axes", input: 1) ?? []
            let rank = extents.count + 1 + axes.count
            let places = Set(axes.map { $0 < 0 ? $0 &+ rank : $0 })
            guard places.count == axes.count, places.allSatisfy({ (1..<rank).contains($0) }), rank <= 9 else {
                throw Problem("axes \(axes) of \(rank)")
            }
            var left = extents[...]
            target = (1..<rank).map { places.contains($0) ? 1 : left.popFirst() ?? 1 }
        default: target = try reshapeTarget(node, extents)
        }
        guard !target.isEmpty else { throw Problem("nothing but the batch would be left") }
        return try add(node.name, .reshape(target), [x])
    }

    /// The extents of a sample that a Reshape asks for. The batch must stay the first axis.
    private func reshapeTarget(_ node: FileNode, _ extents: [Int]) throws -> [Int] {
        var wanted = try required(node, 1).extents()
        guard (1...9).contains(wanted.count) else { throw Problem("\(wanted.count) axes") }
        for place in wanted.indices where wanted[place] == Extent(number: 0) && node.integer("allowzero", 0) == 0 {
            guard place <= extents.count else { throw Problem("a 0 where there is no axis") }
            wanted[place] = place == 0 ? .batch : Extent(number: extents[place - 1])
        }
        let total = extents.reduce(1, *)
        var rest = Array(wanted.dropFirst())
        guard !rest.contains(where: \.isBatch) else { throw Problem("the batch is not the first axis") }
        let isOpenFirst = wanted[0] == Extent(number: -1)
        let isBatch =
            wanted[0] == .batch || isOpenFirst
            || fixedBatch.map { wanted[0] == Extent(number: $0) } ?? false
        guard isBatch else { throw Problem("the first axis becomes \(wanted[0].number), and the batch must stay it") }
        var product = 1
        for extent in rest where extent.number != -1 {
            let (next, overflow) = product.multipliedReportingOverflow(by: extent.number)
            guard extent.number > 0, !overflow, next <= total else {
                throw Problem("\(rest.map(\.number)) of \(extents)")
            }
            product = next
        }
        let open = rest.indices.filter { rest[$0].number == -1 }
        guard open.count <= (isOpenFirst ? 0 : 1), total % product == 0 else {
            throw Problem("\(wanted.map(\.number)) of \(extents)")
        }
        if let place = open.first { rest[place].number = total / product }
        return rest.map(\.number)
    }

    mutating func transpose(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        let rank = shape(x).count + 1
        let order = node.integers("perm") ?? (0..<rank).reversed()
        guard order.count == rank, order.sorted() == Array(0..<rank) else { throw Problem("an order \(order)") }
        guard order[0] == 0 else { throw Problem("the batch must stay the first axis; the order is \(order)") }
        return try add(node.name, .transpose(order.dropFirst().map { $0 - 1 }), [x])
    }

    mutating func split(_ node: FileNode) throws -> [Known] {
        let x = try value(node)
        let axis = try axis(node.integer("axis", 0), x)
        let extent = shape(x)[axis]
        var sizes = try integers(node, "split", input: 1) ?? []
        if sizes.isEmpty {
            let count = node.outputs.count
            guard count > 0, count <= extent, node.integer("num_outputs", count) == count else {
                throw Problem("\(count) parts of \(extent)")
            }
            let size = (extent + count - 1) / count
            guard size * (count - 1) < extent else { throw Problem("\(count) parts of \(extent)") }
            sizes = .init(repeating: size, count: count - 1) + [extent - size * (count - 1)]
        }
        guard sizes.count == node.outputs.count, sizes.allSatisfy({ (1...extent).contains($0) }), sizes.count <= extent,
            sizes.reduce(0, +) == extent
        else { throw Problem("parts of \(sizes) of \(extent)") }
        var start = 0
        return try sizes.enumerated().map { index, size in
            defer { start += size }
            return .value(try add("\(node.name).\(index)", .slice(axis: axis, range: start..<start + size), [x]))
        }
    }

    /// Starts, ends and axes of a Slice; steps must be 1.
    func slices(_ node: FileNode) throws -> [(axis: Int, start: Int, end: Int)] {
        guard let starts = try integers(node, "starts", input: 1), let ends = try integers(node, "ends", input: 2)
        else {
            throw Problem("no starts or ends")
        }
        let axes = try integers(node, "axes", input: 3) ?? Array(starts.indices)
        let steps = try constant(node, 4)?.integers() ?? starts.map { _ in 1 }
        guard steps.allSatisfy({ $0 == 1 }), Set([starts.count, ends.count, axes.count, steps.count]).count == 1 else {
            throw Problem("only steps of 1 are read, with a start, an end and an axis each")
        }
        return zip(axes, zip(starts, ends)).map { ($0, $1.0, $1.1) }
    }

    /// A start or an end as ONNX counts it.
    func bound(_ position: Int, _ extent: Int) -> Int {
        min(max(position < 0 ? position &+ extent : position, 0), extent)
    }

    mutating func slice(_ node: FileNode) throws -> Graph.Value {
        var x = try value(node)
        for (index, part) in try slices(node).enumerated() {
            // The whole batch.
            if part.axis == 0, part.start == 0, part.end >= Int(Int32.max) { continue }
            let axis = try axis(part.axis, x)
            let extent = shape(x)[axis]
            let (start, end) = (bound(part.start, extent), bound(part.end, extent))
            guard start < end else { throw Problem("nothing is left of axis \(part.axis)") }
            if start == 0, end == extent { continue }
            x = try add(index == 0 ? node.name : "\(node.name).\(index)", .slice(axis: axis, range: start..<end), [x])
        }
        return x
    }

    /// One element of an axis.
    mutating func gather(_ node: FileNode) throws -> Graph.Value {
        let x = try value(node)
        let index = try required(node, 1)
        guard index.shape.isEmpty, let position = try index.integers().first else {
            throw Problem("only one element of an axis is read")
        }
        let axis = try axis(node.integer("axis", 0), x)
        let extents = shape(x)
        let place = position < 0 ? position &+ extents[axis] : position
        guard (0..<extents[axis]).contains(place), extents.count > 1 else {
            throw Problem("element \(position) of \(extents)")
        }
        let y = try add("\(node.name).slice", .slice(axis: axis, range: place..<place + 1), [x])
        return try add(
            node.name, .reshape(extents.enumerated().filter { $0.offset != axis }.map(\.element)), [y])
    }
}
