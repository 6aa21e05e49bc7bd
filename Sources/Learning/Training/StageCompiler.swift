internal import CKernels
internal import Model

/// How the values of samples lie in memory, one sample after the other.
enum ValueLayout: Hashable {
    /// The last axis is the innermost.
    case plain
    /// The first axis, that of the channels, is the innermost: NHWC.
    case channelsLast

    /// The axes of a sample, outermost first.
    func order(_ rank: Int) -> [Int] {
        self == .plain || rank < 2 ? Array(0..<rank) : Array(1..<rank) + [0]
    }

    /// The layout of a value of `rank` axes, with one name for one order in memory.
    func normal(_ rank: Int) -> ValueLayout { rank < 2 ? .plain : self }
}

/// One kernel in the order of execution, and the values that it reads and makes, by number.
struct Stage: Sendable {
    /// Of the nodes that it executes.
    let parameters: [Graph.ParameterID]
    let kernel: any TrainingKernel
    let inputs: [Int]
    let output: Int
}

/// Turns a graph into stages: chooses layouts, fuses what one kernel can do, leaves out what only renames.
struct StageCompiler {
    let layout: ParameterLayout
    let graph: Graph
    let batch: Int
    private let dropout: Dropout
    private let compute: BackboneCompute
    private var dropoutCount = 0
    private(set) var stages: [Stage] = []
    /// Floats of one sample of every value in memory.
    private(set) var sizes: [Int] = []
    /// Whether a parameter before it is trained, by number of the value.
    private var isTrained: [Bool] = []
    private var places: [Graph.Value: [ValueLayout: Int]] = [:]
    private let consumers: [[Int]]
    /// Normalisations that a later node takes in.
    private var deferred: [Graph.Value: (Graph.BatchNormalization, Graph.Value)] = [:]
    /// PReLUs that their normalisation has done already.
    private var isDone: Set<Int> = []

    let input: Int
    private(set) var output = 0

    /// - Throws: `BackboneError` naming the node that cannot be run.
    init(_ graph: Graph, _ layout: ParameterLayout, batch: Int, dropout: Dropout, compute: BackboneCompute)
        throws(BackboneError)
    {
        self.dropout = dropout
        self.compute = compute
        self.graph = graph
        self.layout = layout
        self.batch = batch
        consumers = graph.consumers
        input = 0
        sizes = [graph.inputShape.reduce(1, *)]
        isTrained = [false]
        places[.input] = [ValueLayout.channelsLast.normal(graph.inputShape.count): 0]
        for position in graph.nodes.indices where !isDone.contains(position) {
            let node = graph.nodes[position]
            do { try compile(node, Graph.Value(index: position + 1)) } catch {
                throw BackboneError(error.code, "\(graph.name): \(node.operation.title) \(node.name): \(error.message)")
            }
        }
        output = try place(graph.output, .plain)
    }

    // MARK: Values

    /// The number of a value in `layout`; converts it if it lies otherwise.
    private mutating func place(_ value: Graph.Value, _ layout: ValueLayout) throws(BackboneError) -> Int {
        let shape = graph.shape(of: value)
        let layout = layout.normal(shape.count)
        let known = places[value] ?? [:]
        if let found = known[layout] { return found }
        guard let (other, source) = known.first else {
            throw BackboneError(.invalidConfiguration, "a value that was not computed")
        }
        // The batch is the outermost axis in both.
        let (from, to) = (other.order(shape.count), layout.order(shape.count))
        let order = [0] + to.map { axis in (from.firstIndex(of: axis) ?? 0) + 1 }
        let extents = [batch] + from.map { shape[$0] }
        let result = permuted(source, extents, order)
        places[value, default: [:]][layout] = result
        return result
    }

    /// The layout that a value has already.
    private func currentLayout(_ value: Graph.Value) -> ValueLayout {
        let known = places[value] ?? [:]
        return known[.channelsLast] != nil ? .channelsLast : .plain
    }

    /// A value in another order, by number; the value itself if memory stays as it is.
    private mutating func permuted(_ source: Int, _ extents: [Int], _ order: [Int]) -> Int {
        // Axes of one element may stand anywhere.
        let significant = order.filter { extents[$0] > 1 }
        if significant == significant.sorted() { return source }
        return emit(PermutationKernel(input: extents, order: order), [source], sizes[source], [])
    }

    private mutating func emit(
        _ kernel: any TrainingKernel, _ inputs: [Int], _ size: Int, _ parameters: [Graph.ParameterID]
    ) -> Int {
        sizes.append(size)
        isTrained.append(kernel.trainsParameters || inputs.contains { isTrained[$0] })
        stages.append(Stage(parameters: parameters, kernel: kernel, inputs: inputs, output: sizes.count - 1))
        return sizes.count - 1
    }

    /// Adds what makes a value. `others`: parameters of a node before, which it executes too.
    private mutating func emit(
        _ value: Graph.Value, _ layout: ValueLayout, _ kernel: any TrainingKernel, _ inputs: [Int],
        others: [Graph.ParameterID] = []
    ) {
        let shape = graph.shape(of: value)
        let own = graph.nodes[value.index - 1].operation.parameters
        places[value] = [layout.normal(shape.count): emit(kernel, inputs, shape.reduce(1, *), own + others)]
    }

    /// Whether anything before the value is trained.
    func isTrained(_ number: Int) -> Bool { isTrained[number] }

    // MARK: Parameters

    private func start(_ id: Graph.ParameterID) -> Int { layout[id].range.lowerBound }
    private func trains(_ id: Graph.ParameterID) -> Bool { layout[id].kind == .parameter }

    private func weights(
        _ weight: Graph.ParameterID, _ bias: Graph.ParameterID?
    ) -> WeightedOperator.Parameters {
        .init(
            weights: layout[weight].range, bias: bias.map { layout[$0].range },
            trains: (trains(weight), bias.map(trains) ?? false))
    }

    // MARK: Operators

    private mutating func compile(_ node: Graph.Node, _ value: Graph.Value) throws(BackboneError) {
        guard let x = node.inputs.first else { throw BackboneError(.invalidConfiguration, "no inputs") }
        let (shape, result) = (graph.shape(of: x), graph.shape(of: value))
        let count = batch * result.reduce(1, *)
        switch node.operation {
        case .convolution(let convolution):
            let source = try place(x, .channelsLast)
            let kernel = layout[convolution.weight].shape
            emit(
                value, .channelsLast,
                try WeightedOperator.convolution(
                    convolution, batch: batch, input: shape, output: result, kernel: .init(kernel[2], kernel[3]),
                    parameters: weights(convolution.weight, convolution.bias), needsInputGradient: isTrained[source],
                    compute: compute),
                [source])
        case .batchNormalization(let normalization): try normalize(normalization, x, value)
        case .linear(let weight, let bias): try linear(weight, bias, x, value)
        case .activation(let activation):
            let layout = currentLayout(x)
            emit(value, layout, ActivationKernel(activation, count: count), [try place(x, layout)])
        case .prelu(let slope):
            let isShared = self.layout[slope].range.count == 1
            let layout = isShared ? currentLayout(x) : .channelsLast
            let channels = isShared ? 1 : shape[0]
            emit(
                value, layout,
                PReLUKernel(rows: count / channels, channels: channels, slope: start(slope), trains: trains(slope)),
                [try place(x, layout)])
        case .binary(let binary, let constant): try combine(binary, constant, node.inputs, value)
        case .concatenation(let axis):
            let layout = node.inputs.contains { currentLayout($0) == .channelsLast } ? ValueLayout.channelsLast : .plain
            var inputs: [Int] = []
            for input in node.inputs { inputs.append(try place(input, layout)) }
            let (blocks, inner) = around(axis, result, layout)
            emit(
                value, layout,
                ConcatenationKernel(
                    blocks: blocks, widths: node.inputs.map { graph.shape(of: $0)[axis] * inner }), inputs)
        case .slice(let axis, let range):
            let layout = currentLayout(x)
            let (blocks, inner) = around(axis, shape, layout)
            emit(
                value, layout,
                SliceKernel(
                    blocks: blocks, width: shape[axis] * inner,
                    part: range.lowerBound * inner..<range.upperBound * inner), [try place(x, layout)])
        case .pooling(let pooling):
            emit(
                value, .channelsLast,
                PoolingKernel(kind: pooling.kind, window: pooling.window(samples: batch, shape, result)),
                [try place(x, .channelsLast)])
        case .globalPooling(let kind):
            let pooling = Graph.Pooling(kind: kind, kernel: .init(shape[1], shape[2]), strides: .init(1))
            emit(
                value, .channelsLast, PoolingKernel(kind: kind, window: pooling.window(samples: batch, shape, result)),
                [try place(x, .channelsLast)])
        case .reshape: places[value] = [.plain: try place(x, .plain)]
        case .transpose(let order): try transpose(order, x, value)
        case .matrixProduct:
            let other = graph.shape(of: node.inputs[1])
            let kernel = try MatrixProductKernel(
                batch: batch * shape.dropLast(2).reduce(1, *), m: shape[shape.count - 2], k: shape[shape.count - 1],
                n: other[other.count - 1])
            emit(value, .plain, kernel, [try place(x, .plain), try place(node.inputs[1], .plain)])
        case .softmax(let axis):
            let (outer, inner) = around(axis, shape, .plain)
            emit(
                value, .plain, SoftmaxKernel(outer: outer, count: shape[axis], inner: inner), [try place(x, .plain)])
        case .layerNormalization(let weight, let bias, let epsilon):
            let width = layout[weight].range.count
            let kernel = LayerNormalizationKernel(
                rows: count / width, count: width, epsilon: epsilon, weight: start(weight), bias: bias.map(start),
                trains: (trains(weight), bias.map(trains) ?? false))
            emit(value, .plain, kernel, [try place(x, .plain)])
        case .dropout:
            guard dropout.rate > 0 else {
                places[value] = places[x]
                return
            }
            let layout = currentLayout(x)
            let kernel = DropoutKernel(
                samples: batch, count: result.reduce(1, *), dropout: dropout, index: dropoutCount)
            dropoutCount += 1
            emit(value, layout, kernel, [try place(x, layout)])
        }
    }

    /// What lies around an axis in memory: how often it is there, and the floats of each of its elements.
    private func around(_ axis: Int, _ shape: [Int], _ layout: ValueLayout) -> (outer: Int, inner: Int) {
        let order = layout.normal(shape.count).order(shape.count)
        let at = order.firstIndex(of: axis) ?? 0
        return (
            batch * order[..<at].reduce(1) { $0 * shape[$1] }, order[(at + 1)...].reduce(1) { $0 * shape[$1] }
        )
    }

    /// The only node that reads a value, if there is one.
    private func onlyConsumer(of value: Graph.Value) -> (position: Int, node: Graph.Node)? {
        guard value != graph.output, consumers[value.index].count == 1 else { return nil }
        let position = consumers[value.index][0]
        return (position, graph.nodes[position])
    }

    private mutating func normalize(
        _ n: Graph.BatchNormalization, _ x: Graph.Value, _ value: Graph.Value
    ) throws(BackboneError) {
        if let (position, next) = onlyConsumer(of: value) {
            // A PReLU behind it is done in the same pass over memory.
            if case .prelu(let slope) = next.operation, layout[slope].range.count == graph.shape(of: x)[0] {
                isDone.insert(position)
                try emit(n, x, slope: slope, residual: nil, Graph.Value(index: position + 1))
                return
            }
            // An addition takes it in, when its other operand is there; one of two.
            if case .binary(.add, nil) = next.operation, next.inputs.allSatisfy({ deferred[$0] == nil }),
                graph.shape(of: next.inputs[0]) == graph.shape(of: next.inputs[1])
            {
                deferred[value] = (n, x)
                return
            }
        }
        try emit(n, x, slope: nil, residual: nil, value)
    }

    private mutating func emit(
        _ n: Graph.BatchNormalization, _ x: Graph.Value, slope: Graph.ParameterID?, residual: Graph.Value?,
        _ value: Graph.Value
    ) throws(BackboneError) {
        let shape = graph.shape(of: x)
        let rows = batch * shape.dropFirst().reduce(1, *)
        var inputs = [try place(x, .channelsLast)]
        if let residual { inputs.append(try place(residual, .channelsLast)) }
        emit(
            value, .channelsLast,
            Normalization(
                channels: shape[0], rows: rows, epsilon: n.epsilon, weight: start(n.weight), bias: start(n.bias),
                mean: start(n.mean), variance: start(n.variance), slope: slope.map(start),
                trains: (trains(n.weight), trains(n.bias), slope.map(trains) ?? false)), inputs,
            others: [n.weight, n.bias])
    }

    private mutating func linear(
        _ weight: Graph.ParameterID, _ bias: Graph.ParameterID?, _ x: Graph.Value, _ value: Graph.Value
    ) throws(BackboneError) {
        let (shape, outputs) = (graph.shape(of: x), graph.shape(of: value).last ?? 1)
        // Behind a flattened image the weights are packed for the image's layout instead of moving the image.
        var image = x
        while let node = image.node.map({ graph.nodes[$0] }) {
            if case .reshape(let to) = node.operation, to.count == 1 {
                image = node.inputs[0]
            } else if case .dropout = node.operation, dropout.rate == 0 {
                image = node.inputs[0]
            } else {
                break
            }
        }
        let extents = graph.shape(of: image)
        if shape.count == 1, extents.count == 3, places[image]?[.channelsLast] != nil {
            let source = try place(image, .channelsLast)
            emit(
                value, .plain,
                try WeightedOperator.linear(
                    batch: batch, inputs: extents[0], height: extents[1], width: extents[2], outputs: outputs,
                    parameters: weights(weight, bias), needsInputGradient: isTrained[source], compute: compute),
                [source])
            return
        }
        let source = try place(x, .plain)
        emit(
            value, .plain,
            try WeightedOperator.linear(
                batch: batch * shape.dropLast().reduce(1, *), inputs: shape.last ?? 1, outputs: outputs,
                parameters: weights(weight, bias), needsInputGradient: isTrained[source], compute: compute), [source])
    }

    private mutating func combine(
        _ binary: Graph.Binary, _ constant: Graph.Constant?, _ inputs: [Graph.Value], _ value: Graph.Value
    ) throws(BackboneError) {
        for (position, input) in inputs.enumerated() {
            guard let (normalization, x) = deferred[input] else { continue }
            deferred[input] = nil
            try emit(normalization, x, slope: nil, residual: inputs[1 - position], value)
            return
        }
        let result = graph.shape(of: value)
        // Constants lie in the order of their own axes.
        let plain = constant.map { layout[$0.parameter].shape.filter { $0 > 1 }.count > 1 } ?? false
        let shapes = inputs.map { graph.shape(of: $0) }
        let isMixed = shapes.contains { $0.count != result.count }
        let order =
            plain || isMixed || !inputs.contains { currentLayout($0) == .channelsLast }
            ? ValueLayout.plain : .channelsLast
        var operands: [Int] = []
        for input in inputs { operands.append(try place(input, order)) }
        var extents = shapes
        if let constant {
            extents.insert(layout[constant.parameter].shape, at: constant.isFirst ? 0 : 1)
        }
        let rank = result.count
        guard rank < PFC_MAX_RANK else {
            throw BackboneError(.invalidConfiguration, "\(rank) axes; at most \(PFC_MAX_RANK - 1) can be combined")
        }
        let axes = order.normal(rank).order(rank)
        /// Strides of an operand along the axes of the result, the batch first.
        func strides(_ operand: [Int], isConstant: Bool) -> [Int] {
            let padded = [Int](repeating: 1, count: rank - operand.count) + operand
            var (result, step) = ([Int](), 1)
            for axis in axes.reversed() {
                result.insert(padded[axis] == 1 ? 0 : step, at: 0)
                step *= padded[axis]
            }
            return [isConstant || batch == 1 ? 0 : step] + result
        }
        let isConstant = [constant?.isFirst == true, constant != nil && constant?.isFirst == false]
        var shape = pfc_broadcast()
        shape.rank = rank + 1
        Self.fill(&shape.extents, [batch] + axes.map { result[$0] })
        Self.fill(&shape.a, strides(extents[0], isConstant: isConstant[0]))
        Self.fill(&shape.b, strides(extents[1], isConstant: isConstant[1]))
        let counts = zip(extents, isConstant).map { $0.0.reduce(1, *) * ($0.1 ? 1 : batch) }
        emit(
            value, order,
            BinaryKernel(
                binary, shape: shape, counts: (counts[0], counts[1]),
                constant: constant.map { (start($0.parameter), $0.isFirst, trains($0.parameter)) }), operands)
    }

    private static func fill<Tuple>(_ tuple: inout Tuple, _ numbers: [Int]) {
        withUnsafeMutableBytes(of: &tuple) { bytes in
            let target = bytes.bindMemory(to: Int.self)
            for (index, number) in numbers.enumerated() { target[index] = number }
        }
    }

    private mutating func transpose(
        _ order: [Int], _ x: Graph.Value, _ value: Graph.Value
    ) throws(BackboneError) {
        // The result in either layout is the input in some order of axes: where that is how the input lies, nothing moves.
        let (shape, rank) = (graph.shape(of: x), order.count)
        let from = currentLayout(x)
        let source = try place(x, from)
        let axes = from.normal(rank).order(rank)
        for target in [ValueLayout.channelsLast, .plain] {
            let wanted = target.normal(rank).order(rank).map { axis in (axes.firstIndex(of: order[axis]) ?? 0) + 1 }
            let extents = [batch] + axes.map { shape[$0] }
            let significant = wanted.filter { extents[$0] > 1 }
            guard significant == significant.sorted() || target == .plain else { continue }
            places[value] = [target.normal(rank): permuted(source, extents, [0] + wanted)]
            return
        }
    }
}
