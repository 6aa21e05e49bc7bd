internal import CKernels
public import Determinism
public import Model
public import Tensors

/// A worker's backbone: forward and backward over the rank's micro-batches, on several threads.
///
/// One thread computes one micro-batch from start to end, so neither the number of threads nor that of ranks changes a
/// bit. Call it from one task at a time.
///
/// ```swift
/// try worker.load(parameters)
/// let embeddings = try worker.forward(images: images)
/// let pushed = try worker.backward(embeddingGradient, microBatches: range, of: microBatchCount)
/// ```
public final class BackboneWorker: @unchecked Sendable {
    public let layout: ParameterLayout
    /// g: samples of a micro-batch.
    public let microBatchSize: Int
    public let blocks: ParallelBlocks
    /// What activations may take up, in bytes. Micro-batches beyond it are computed again for their backward pass.
    public let memoryBudget: Int

    /// nil for the identity backbone.
    private let network: Network?
    private var threads: [KernelThread] = []
    /// Activations of the micro-batches that are kept, then one context for each thread.
    private var contexts: [FloatMemory] = []
    /// Gradients of micro-batches that wait for their siblings, kept from step to step.
    private var spareGradients: [FloatMemory] = []
    private var parameters: PackedParameters?
    private var lastImages: (images: Tensor, order: AxisOrder, place: BatchPlace, kept: Int)?

    /// Compiles the network for micro-batches of `microBatchSize` samples.
    ///
    /// - Parameter memoryBudget: bytes of activations to keep between forward and backward; at least one context a
    ///   thread is always used.
    /// - Throws: `BackboneError` if the configuration is invalid or oneDNN cannot run it.
    public convenience init(
        configuration: BackboneConfiguration, microBatchSize: Int, blocks: ParallelBlocks, memoryBudget: Int = 4 << 30
    ) throws(BackboneError) {
        try self.init(
            layout: ParameterLayout(configuration), microBatchSize: microBatchSize, blocks: blocks,
            memoryBudget: memoryBudget)
    }

    /// Compiles the network of a layout.
    ///
    /// - Parameters:
    ///   - dropout: of the network's dropout layers, in training.
    ///   - compute: of convolutions and linear layers, forward and backward.
    /// - Throws: `BackboneError` if oneDNN cannot run it, the micro-batch is too small or too large, or the processor cannot multiply
    ///   bf16 numbers.
    public init(
        layout: ParameterLayout, microBatchSize: Int, blocks: ParallelBlocks, memoryBudget: Int = 4 << 30,
        dropout: Dropout = .none, compute: BackboneCompute = .f32
    ) throws(BackboneError) {
        self.layout = layout
        if let problem = compute.problem(
            multipliesBF16: InstructionSet.multipliesBF16, instructionSet: InstructionSet.effective)
        {
            throw BackboneError(.invalidConfiguration, problem)
        }
        guard (1...4096).contains(microBatchSize) else {
            throw BackboneError(.invalidConfiguration, "a micro-batch of \(microBatchSize) samples is not in 1...4096")
        }
        self.microBatchSize = microBatchSize
        self.blocks = blocks
        self.memoryBudget = memoryBudget
        if let graph = layout.graph {
            let network = try Network(graph, layout, batch: microBatchSize, dropout: dropout, compute: compute)
            for _ in 0..<blocks.threads { threads.append(try network.makeThread()) }
            self.network = network
        } else {
            network = nil
        }
    }

    /// Takes a version of the parameters: the flat vector f32 [P], which must not change afterwards.
    ///
    /// - Throws: `BackboneError` if it does not fit.
    public func load(_ parameters: Tensor) throws(BackboneError) {
        guard parameters.dtype == .f32, parameters.shape == [layout.count] else {
            throw BackboneError(
                .invalidPayload,
                "parameters are \(parameters.dtype) \(parameters.shape); \(layout.configuration.name) has f32 [\(layout.count)]"
            )
        }
        lastImages = nil
        guard let network else { return }
        let old = self.parameters
        self.parameters = nil
        self.parameters = try PackedParameters(parameters, for: network, blocks: blocks, threads: threads, reusing: old)
    }

    /// The embeddings f32 [n,D] of the rank's samples in training; n = g × micro-batches, may be 0.
    ///
    /// - Parameters:
    ///   - images: f32 [n,C,H,W] or [n,H,W,C], normalised; must not change until `backward` is done.
    ///   - place: of the first image, by which dropout's masks are drawn.
    /// - Throws: `BackboneError` if the shape does not fit, or no parameters are loaded.
    public func forward(
        images: Tensor, order: AxisOrder = .nchw, at place: BatchPlace = BatchPlace(step: 0, position: 0)
    ) throws(BackboneError) -> Tensor {
        let samples = try check(images, order)
        guard samples % microBatchSize == 0 else {
            throw BackboneError(
                .invalidInput,
                "\(samples) images are not whole micro-batches of \(microBatchSize); pad or cut the global batch")
        }
        guard let network else {
            lastImages = (images, order, place, 0)
            return images.reshaped([samples, layout.configuration.embeddingSize])
        }
        let parameters = try loaded()
        let count = samples / microBatchSize
        let kept = reserveContexts(count, network)
        let size = layout.configuration.embeddingSize
        let embeddings = Tensor(uninitialized: Float.self, shape: [samples, size])
        let failure = FirstFailure()
        blocks.forEach(count) { [self] block, thread in
            KernelThread.enter()
            failure.run { () throws(BackboneError) in
                let context = contexts[block < kept ? block : kept + thread]
                copy(
                    images, order, block * microBatchSize..<(block + 1) * microBatchSize,
                    to: network.input(context, threads[thread]))
                let result = try network.forward(
                    context, parameters, training: place.advanced(by: block * microBatchSize), on: threads[thread])
                (embeddings.mutable(Float.self).baseAddress! + block * microBatchSize * size)
                    .update(from: result, count: microBatchSize * size)
            }
        }
        try failure.check()
        lastImages = (images, order, place, kept)
        return embeddings
    }

    /// The dense payload of the rank's micro-batches `microBatches` of `microBatchCount` in the global batch, after
    /// `forward` on their samples.
    ///
    /// - Parameters:
    ///   - gradient: ∂loss/∂embeddings f32 [n,D].
    ///   - rounding: how the sums are rounded, if they are: then they are bf16 numbers, as floats.
    /// - Returns: the nodes i32 [K,2] of the rank's subtrees, and for each the sum f32 [K,P] of gradients (of statistics:
    ///   the sum of the micro-batches' means and unbiased variances).
    /// - Throws: `BackboneError` if shapes do not fit, or `forward` was not called; `nonFinite` naming the layer.
    public func backward(
        _ gradient: Tensor, microBatches: Range<Int>, of microBatchCount: Int, rounding: DenseGradientRounding? = nil
    ) throws(BackboneError) -> (nodes: Tensor, gradients: Tensor) {
        guard let (images, order, place, kept) = lastImages else {
            throw BackboneError(
                .wrongPhase, "a backward pass needs a forward pass on the same images and parameters first")
        }
        let (samples, size) = (images.shape[0], layout.configuration.embeddingSize)
        guard gradient.dtype == .f32, gradient.shape == [samples, size] else {
            throw BackboneError(
                .invalidPayload,
                "embedding gradients are \(gradient.dtype) \(gradient.shape); expected f32 [\(samples),\(size)]")
        }
        guard microBatchCount > 0, microBatches.lowerBound >= 0, microBatches.upperBound <= microBatchCount,
            microBatches.count * microBatchSize == samples
        else {
            throw BackboneError(
                .invalidInput,
                "micro-batches \(microBatches) of \(microBatchCount) do not fit a forward pass on \(samples) samples in micro-batches of \(microBatchSize)"
            )
        }
        let sums = TreeAccumulator(
            tree: ReductionTree(leafCount: microBatchCount), microBatches: microBatches, elements: layout.count,
            spare: spareGradients, rounding: rounding)
        if let network {
            let parameters = try loaded()
            let failure = FirstFailure()
            blocks.forEach(microBatches.count) { [self] block, thread in
                KernelThread.enter()
                failure.run { () throws(BackboneError) in
                    let context = contexts[block < kept ? block : kept + thread]
                    if block >= kept {
                        copy(
                            images, order, block * microBatchSize..<(block + 1) * microBatchSize,
                            to: network.input(context, threads[thread]))
                        _ = try network.forward(
                            context, parameters, training: place.advanced(by: block * microBatchSize),
                            on: threads[thread])
                    }
                    let slot = sums.begin(microBatches.lowerBound + block)
                    try network.backward(
                        gradient.mutable(Float.self).baseAddress! + block * microBatchSize * size, context, parameters,
                        gradient: slot.pointer, on: threads[thread])
                    sums.finish(slot)
                }
            }
            try failure.check()
            spareGradients = sums.spare
            // Here, and not on the shards alone, so that the message comes from the rank that it is about.
            for node in sums.nodes.indices {
                guard let layer = layout.firstNotFinite(in: sums.result.rows(node..<node + 1)) else { continue }
                throw BackboneError(
                    .nonFinite,
                    "the gradient of layer \(layer.name) is not finite; lower the learning rate or look at the data of this step"
                )
            }
        }
        let nodes = sums.nodes.flatMap { [Int32($0.level), Int32($0.index)] }
        return (Tensor(nodes, shape: [sums.nodes.count, 2]), sums.result)
    }

    /// The embeddings f32 [n,D] of any number of images, with the running statistics: for evaluation.
    ///
    /// Forgets a forward pass whose backward pass was not called yet.
    ///
    /// - Throws: `BackboneError` if the shape does not fit, or no parameters are loaded.
    public func embed(images: Tensor, order: AxisOrder = .nchw) throws(BackboneError) -> Tensor {
        let samples = try check(images, order)
        let size = layout.configuration.embeddingSize
        lastImages = nil
        guard let network else { return images.reshaped([samples, size]) }
        let parameters = try loaded()
        let count = (samples + microBatchSize - 1) / microBatchSize
        let embeddings = Tensor(uninitialized: Float.self, shape: [samples, size])
        while contexts.count < blocks.threads { contexts.append(FloatMemory(count: network.contextCount)) }
        let failure = FirstFailure()
        blocks.forEach(count) { [self] block, thread in
            KernelThread.enter()
            failure.run { () throws(BackboneError) in
                let range = block * microBatchSize..<min((block + 1) * microBatchSize, samples)
                let context = contexts[thread]
                copy(images, order, range, to: network.input(context, threads[thread]))
                let result = try network.forward(context, parameters, training: nil, on: threads[thread])
                (embeddings.mutable(Float.self).baseAddress! + range.lowerBound * size)
                    .update(from: result, count: range.count * size)
            }
        }
        try failure.check()
        return embeddings
    }

    /// Memory held, in bytes: activations, buffers, packed weights.
    public var memoryBytes: Int {
        (contexts + spareGradients).reduce(0) { $0 + $1.byteCount } + threads.reduce(0) { $0 + $1.memoryBytes }
            + (parameters?.memoryBytes ?? 0)
    }

    /// Activations of one micro-batch, in bytes.
    public var contextBytes: Int { (network?.contextCount ?? 0) * 4 }

    private func loaded() throws(BackboneError) -> PackedParameters {
        guard let parameters else {
            throw BackboneError(.wrongPhase, "the backbone has no parameters yet; load them first")
        }
        return parameters
    }

    /// The number of images, if their shape fits.
    private func check(_ images: Tensor, _ order: AxisOrder) throws(BackboneError) -> Int {
        let c = layout.configuration
        let shape =
            switch order {
            case .nchw: [c.inputChannels, c.inputHeight, c.inputWidth]
            case .nhwc: [c.inputHeight, c.inputWidth, c.inputChannels]
            }
        if c.isIdentity, images.dtype == .f32, images.shape == [images.shape.first ?? 0, c.embeddingSize] {
            return images.shape[0]
        }
        guard images.dtype == .f32, images.shape.count == 4, Array(images.shape.dropFirst()) == shape else {
            throw BackboneError(
                .invalidInput,
                "images are \(images.dtype) \(images.shape); \(c.name) takes f32 [n] + \(shape) (\(order.rawValue))")
        }
        return images.shape[0]
    }

    /// Makes contexts for `count` micro-batches within the budget; returns how many are kept until the backward pass.
    private func reserveContexts(_ count: Int, _ network: Network) -> Int {
        let affordable = max(blocks.threads, memoryBudget / max(1, network.contextCount * 4))
        let kept = count <= affordable ? count : affordable - blocks.threads
        let needed = count <= affordable ? count : affordable
        while contexts.count < needed { contexts.append(FloatMemory(count: network.contextCount)) }
        return kept
    }

    /// Copies samples to a network's input as NHWC; fills up with zeros.
    private func copy(_ images: Tensor, _ order: AxisOrder, _ samples: Range<Int>, to target: Floats) {
        let configuration = layout.configuration
        let count = configuration.inputCount
        let source = images.buffer(Float.self).baseAddress! + samples.lowerBound * count
        if order == .nchw && configuration.inputChannels > 1 {
            pfc_nchw_to_nhwc(
                source, samples.count, configuration.inputChannels,
                configuration.inputHeight * configuration.inputWidth, target)
        } else {
            target.update(from: source, count: samples.count * count)
        }
        if samples.count < microBatchSize {
            (target + samples.count * count).update(repeating: 0, count: (microBatchSize - samples.count) * count)
        }
    }
}
