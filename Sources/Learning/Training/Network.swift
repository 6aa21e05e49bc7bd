internal import CKernels
internal import Model

/// A compiled IResNet for micro-batches of g samples: operations and the plan of its memory, without any values.
///
/// Immutable and shared by all threads. Values live in a `FloatMemory` context per micro-batch, weights in `PackedParameters`.
final class Network: Sendable {
    struct Block: Sendable {
        let bn1, bn2, bn3: Normalization
        let conv1, conv2: WeightedOperator
        let shortcut: (convolution: WeightedOperator, normalization: Normalization, output: Int)?
        /// Where activations lie in a context: after bn1, conv1, bn2 + PReLU, conv2, and the block's output.
        let a1, c1, a2, c2, output: Int
    }

    let layout: ParameterLayout
    let batch: Int
    let stem: WeightedOperator
    let stemNormalization: Normalization
    let blocks: [Block]
    let lastNormalization: Normalization
    let head: WeightedOperator
    let features: Normalization
    /// Where activations lie in a context.
    let input, stemOutput, stemActivation, lastActivation, headOutput, embedding: Int
    /// Floats of a context.
    let contextCount: Int
    /// Floats of the largest activation.
    let largestActivation: Int
    /// The most channels (or features) any normalisation has.
    let mostChannels: Int

    /// - Throws: `BackboneError` if oneDNN cannot run a layer, or if a statistic would be over one value.
    init(_ layout: ParameterLayout, batch: Int) throws(BackboneError) {
        let configuration = layout.configuration
        guard batch >= 2 else {
            throw BackboneError(
                .invalidConfiguration, "micro-batches of \(batch) samples: batch normalisation needs at least 2")
        }
        KernelThread.enter()
        self.layout = layout
        self.batch = batch
        var planner = NetworkPlanner(layout: layout, batch: batch)
        let (height, width) = (configuration.inputHeight, configuration.inputWidth)
        input = planner.reserve(batch * configuration.inputCount)
        stem = try planner.convolution(
            "conv1", configuration.inputChannels, configuration.stemWidth, height, width, kernel: 3, stride: 1,
            first: true)
        stemOutput = planner.reserve(stem.outputCount)
        stemNormalization = planner.normalization("bn1", configuration.stemWidth, height * width, slope: "prelu.weight")
        stemActivation = planner.reserve(stem.outputCount)
        var blocks: [Block] = []
        for shape in configuration.blocks { blocks.append(try planner.block(shape)) }
        self.blocks = blocks
        let last = configuration.widths[configuration.widths.count - 1]
        let (endHeight, endWidth) = configuration.outputExtent
        lastNormalization = planner.normalization("bn2", last, endHeight * endWidth)
        lastActivation = planner.reserve(batch * last * endHeight * endWidth)
        head = try WeightedOperator.linear(
            batch: batch, inputs: last, height: endHeight, width: endWidth, outputs: configuration.embeddingSize,
            weights: planner.range("fc.weight"), bias: planner.range("fc.bias"))
        headOutput = planner.reserve(head.outputCount)
        features = planner.normalization("features", configuration.embeddingSize, 1)
        embedding = planner.reserve(head.outputCount)
        contextCount = planner.count
        largestActivation = planner.largest
        mostChannels = planner.mostChannels
    }

    /// Every layer with weights, in a fixed order.
    var operators: [WeightedOperator] {
        [stem] + blocks.flatMap { [$0.conv1, $0.conv2] + ($0.shortcut.map { [$0.convolution] } ?? []) } + [head]
    }

    /// Memory for one compute thread.
    func makeThread() throws(BackboneError) -> KernelThread {
        try KernelThread(
            bufferCount: largestActivation, packedGradientCount: operators.map(\.packedGradientCount).max() ?? 0,
            channels: mostChannels)
    }

    /// Embeddings of the context's input, into the context's `embedding`: [g,D].
    ///
    /// In training, statistics are over the micro-batch, and the context afterwards holds what `backward` needs.
    func forward(
        _ memory: FloatMemory, _ parameters: PackedParameters, training: Bool, on thread: KernelThread
    ) throws(BackboneError) {
        let (c, flat) = (memory.pointer, parameters.flat)
        func normalize(_ n: Normalization, _ x: Int, residual: Floats? = nil, to y: Floats) {
            n.prepare(c + x, flat, c, training: training, on: thread)
            n.apply(c + x, flat, c, residual: residual, to: y)
        }
        func apply(_ o: WeightedOperator, _ x: Int, _ y: Int) throws(BackboneError) {
            try o.forward(c + x, parameters.forward(o), flat, c + y, on: thread)
        }
        try apply(stem, input, stemOutput)
        normalize(stemNormalization, stemOutput, to: c + stemActivation)
        var x = stemActivation
        for block in blocks {
            normalize(block.bn1, x, to: c + block.a1)
            try apply(block.conv1, block.a1, block.c1)
            normalize(block.bn2, block.c1, to: c + block.a2)
            try apply(block.conv2, block.a2, block.c2)
            var residual = c + x
            if let shortcut = block.shortcut {
                try apply(shortcut.convolution, x, shortcut.output)
                residual = thread.buffers[0].pointer
                normalize(shortcut.normalization, shortcut.output, to: residual)
            }
            normalize(block.bn3, block.c2, residual: residual, to: c + block.output)
            x = block.output
        }
        normalize(lastNormalization, x, to: c + lastActivation)
        try apply(head, lastActivation, headOutput)
        normalize(features, headOutput, to: c + embedding)
    }

    /// The gradient of every parameter from ∂loss/∂embeddings [g,D], after `forward` in training: P floats.
    func backward(
        _ embeddingGradient: Floats, _ memory: FloatMemory, _ parameters: PackedParameters, gradient: Floats,
        on thread: KernelThread
    ) throws(BackboneError) {
        let (c, flat) = (memory.pointer, parameters.flat)
        // d: the gradient that goes on; t, u, v: temporary.
        var (d, t, u) = (thread.buffers[0].pointer, thread.buffers[1].pointer, thread.buffers[2].pointer)
        let v = thread.buffers[3].pointer
        func normalize(_ n: Normalization, _ dy: Floats, _ x: Int, other: Floats? = nil, to dx: Floats) {
            n.backward(dy, c + x, flat, c, other: other, to: dx, gradient: gradient, on: thread)
        }
        func apply(_ o: WeightedOperator, _ x: Int, _ dy: Floats, to dx: Floats) throws(BackboneError) {
            try o.backwardWeights(c + x, dy, gradient, on: thread)
            try o.backwardInput(dy, parameters.backward(o), dx, on: thread)
        }
        normalize(features, embeddingGradient, headOutput, to: t)
        try apply(head, lastActivation, t, to: u)
        normalize(lastNormalization, u, blocks.last?.output ?? stemActivation, to: d)
        for (position, block) in blocks.enumerated().reversed() {
            let x = position > 0 ? blocks[position - 1].output : stemActivation
            normalize(block.bn3, d, block.c2, to: t)
            try apply(block.conv2, block.a2, t, to: u)
            normalize(block.bn2, u, block.c1, to: t)
            try apply(block.conv1, block.a1, t, to: u)
            var other = d
            if let shortcut = block.shortcut {
                normalize(shortcut.normalization, d, shortcut.output, to: t)
                try apply(shortcut.convolution, x, t, to: v)
                other = v
            }
            normalize(block.bn1, u, x, other: other, to: t)
            swap(&d, &t)
        }
        normalize(stemNormalization, d, stemOutput, to: t)
        try stem.backwardWeights(c + input, t, gradient, on: thread)
    }
}
