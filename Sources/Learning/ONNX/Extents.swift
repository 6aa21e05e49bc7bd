/// A number that may be a multiple of the open batch: what shape arithmetic in a file computes with.
struct Extent: Equatable {
    var number: Int
    var isBatch = false

    static let batch = Extent(number: 1, isBatch: true)

    /// The result of integer arithmetic; nil if it overflows, or the batch does not fall out.
    static func apply(_ operation: String, _ a: Extent, _ b: Extent) -> Extent? {
        var result: (partialValue: Int, overflow: Bool)
        switch operation {
        case "Add", "Sub":
            guard a.isBatch == b.isBatch else { return nil }
            result =
                operation == "Add"
                ? a.number.addingReportingOverflow(b.number) : a.number.subtractingReportingOverflow(b.number)
        case "Mul":
            guard !(a.isBatch && b.isBatch) else { return nil }
            result = a.number.multipliedReportingOverflow(by: b.number)
            return result.overflow ? nil : Extent(number: result.partialValue, isBatch: a.isBatch || b.isBatch)
        case "Div":
            // Rounds as integers do; extents are not negative, and -1 of the smallest number would overflow.
            guard b.number > 0 else { return nil }
            if a.isBatch {
                guard a.number % b.number == 0 else { return nil }
                return Extent(number: a.number / b.number, isBatch: !b.isBatch)
            }
            guard !b.isBatch else { return nil }
            result = a.number.dividedReportingOverflow(by: b.number)
        default: return nil
        }
        return result.overflow ? nil : Extent(number: result.partialValue, isBatch: a.isBatch)
    }
}

/// A tensor that is known before the network runs.
struct Constant {
    enum Content {
        case stored(StoredTensor)
        case floats([Float])
        case integers([Extent])
        indirect case encoded(EncodedConstant)
    }

    var name: String
    var shape: [Int]
    var content: Content
    /// Whether it is [outputs, inputs] of a weight that is stored as [inputs, outputs].
    var isTransposed = false

    var count: Int { shape.reduce(1, *) }

    var isInteger: Bool {
        switch content {
        case .stored(let tensor): tensor.kind.isInteger
        case .floats, .encoded: false
        case .integers: true
        }
    }

    /// The elements, for parameters and folding.
    func floats() throws -> [Float] {
        let stored: [Float]
        switch content {
        case .stored(let tensor): stored = try tensor.floats()
        case .floats(let values): stored = values
        case .encoded(let encoded): stored = try encoded.floats()
        case .integers(let values):
            guard !values.contains(where: \.isBatch) else { throw Problem("\(name) depends on the batch") }
            stored = values.map { Float($0.number) }
        }
        // Where an axis was dropped its extent was 1: the order is right already.
        guard isTransposed, shape.count == 2, !stored.isEmpty else { return stored }
        let (rows, columns) = (shape[0], shape[1])
        return [Float](unsafeUninitializedCapacity: stored.count) { target, count in
            for row in 0..<rows {
                for column in 0..<columns { target[row * columns + column] = stored[column * rows + row] }
            }
            count = stored.count
        }
    }

    /// The elements, for shapes.
    func extents() throws -> [Extent] {
        switch content {
        case .integers(let values): return values
        case .stored(let tensor):
            guard count <= 1 << 12 else { throw Problem("\(name) has \(count) elements: too many for a shape") }
            return try tensor.integers().map { Extent(number: $0) }
        case .floats, .encoded: throw Problem("\(name) has no integers")
        }
    }

    func integers() throws -> [Int] {
        try extents().map {
            guard !$0.isBatch else { throw Problem("\(name) depends on the batch") }
            return $0.number
        }
    }
}
