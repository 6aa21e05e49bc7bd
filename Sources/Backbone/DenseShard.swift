internal import CKernels
internal import Determinism
public import Tensors

/// The dense optimiser: a contiguous range of dense slices of the backbone's flat vector, with their momentum.
///
/// A step is `dense` (sum the gradient), `update` (change the values), then `commit` or `rollback`. The values of a slice
/// depend on nothing but the configuration, the seed and the gradients: not on which slices are owned together.
/// A shard that owns nothing, and a backbone without parameters, are ordinary cases with L = 0.
public struct DenseShard: Sendable {
    public let layout: ParameterLayout
    /// The dense slices owned here.
    public let slices: Range<Int>
    /// Nd: dense slices in all.
    public let sliceCount: Int
    public let optimizer: DenseOptimizer
    /// M: micro-batches of a global batch.
    public let microBatchCount: Int
    /// The elements of the flat vector owned here; L = `range.count`.
    public let range: Range<Int>

    /// The current values: f32 [L]. Never written again: the next update makes new ones.
    public private(set) var parameters: Tensor
    /// The momentum of every value (0 for statistics and frozen values): f32 [L].
    public private(set) var momentum: Tensor

    private var gradient: Tensor?
    private var before: (parameters: Tensor, momentum: Tensor)?
    private var spare: [Tensor] = []

    /// Dense slices `slices` of `sliceCount` at their starting values.
    ///
    /// - Throws: `BackboneError` if the range or the optimiser is invalid.
    public init(
        layout: ParameterLayout, slices: Range<Int>, of sliceCount: Int, seed: UInt64,
        optimizer: DenseOptimizer = DenseOptimizer(), microBatchCount: Int
    ) throws(BackboneError) {
        try Self.check(slices, sliceCount, optimizer, microBatchCount)
        let range = layout.range(ofSlices: slices, of: sliceCount)
        try self.init(
            layout: layout, slices: slices, of: sliceCount,
            parameters: layout.initialValues(in: range, seed: seed),
            momentum: Tensor(zeros: Float.self, shape: [range.count]), optimizer: optimizer,
            microBatchCount: microBatchCount)
    }

    /// Dense slices `slices` of `sliceCount` at given values and momentum, each f32 [L].
    ///
    /// - Throws: `BackboneError` if a size does not fit.
    public init(
        layout: ParameterLayout, slices: Range<Int>, of sliceCount: Int, parameters: Tensor, momentum: Tensor,
        optimizer: DenseOptimizer = DenseOptimizer(), microBatchCount: Int
    ) throws(BackboneError) {
        try Self.check(slices, sliceCount, optimizer, microBatchCount)
        range = layout.range(ofSlices: slices, of: sliceCount)
        for (what, tensor) in [("parameters", parameters), ("momentum", momentum)]
        where tensor.dtype != .f32 || tensor.shape != [range.count] {
            throw BackboneError(
                .invalidPayload,
                "\(what) are \(tensor.dtype) \(tensor.shape); dense slices \(slices) of \(sliceCount) need f32 [\(range.count)]"
            )
        }
        self.layout = layout
        self.slices = slices
        self.sliceCount = sliceCount
        self.optimizer = optimizer
        self.microBatchCount = microBatchCount
        self.parameters = parameters
        self.momentum = momentum
    }

    private static func check(
        _ slices: Range<Int>, _ sliceCount: Int, _ optimizer: DenseOptimizer, _ microBatchCount: Int
    ) throws(BackboneError) {
        guard sliceCount > 0, slices.lowerBound >= 0, slices.upperBound <= sliceCount else {
            throw BackboneError(.invalidConfiguration, "dense slices \(slices) are not within 0..<\(sliceCount)")
        }
        guard microBatchCount > 0 else {
            throw BackboneError(
                .invalidConfiguration, "a global batch of \(microBatchCount) micro-batches is not possible")
        }
        try optimizer.validate()
    }

    /// The dense phase: sums the pushed gradients over the micro-batch tree.
    ///
    /// - Parameter pushed: for each rank, its nodes i32 [K,2] and gradients f32 [K,L]. Together they cover every
    ///   micro-batch once. Calling it again before `update` replaces the gradient.
    /// - Returns: the squared norm of the gradient on each owned dense slice, trained parameters only: f64 [slices].
    /// - Throws: `BackboneError`: `invalidPayload` for wrong tensors or nodes, `nonFinite` naming the layer,
    ///   `wrongPhase` if an update is neither committed nor rolled back. Nothing is changed then.
    public mutating func dense(pushed: [[Tensor]]) throws(BackboneError) -> [Tensor] {
        guard before == nil else {
            throw BackboneError(.wrongPhase, "gradients arrived before the last update was committed or rolled back")
        }
        let previous = pfc_flush_denormals_enter()
        defer { pfc_flush_denormals_leave(previous) }
        let total = try GradientSum(elements: range.count, microBatchCount: microBatchCount).total(pushed)
        let norms = try squaredNorms(total)
        gradient = total
        return [Tensor(norms)]
    }

    private func squaredNorms(_ gradient: Tensor) throws(BackboneError) -> [Double] {
        let values = gradient.buffer(Float.self)
        func nonFinite(_ name: String) -> BackboneError {
            BackboneError(
                .nonFinite,
                "the gradient of layer \(name) is not finite; lower the learning rate or look at the data of this step")
        }
        var norms: [Double] = []
        for slice in slices {
            var norm = 0.0
            for (segment, part) in layout.parts(in: layout.range(ofSlices: slice..<slice + 1, of: sliceCount)) {
                let start = values.baseAddress! + (part.lowerBound - range.lowerBound)
                switch segment.kind {
                case .parameter:
                    let square = pfc_squared_norm(start, part.count)
                    guard square.isFinite else { throw nonFinite(segment.name) }
                    norm += square
                case .statistic:
                    guard pfc_all_finite(start, part.count) != 0 else { throw nonFinite(segment.name) }
                case .frozen: break
                }
            }
            norms.append(norm)
        }
        return norms
    }

    /// The update phase: clips, takes one step of SGD, moves the running statistics.
    ///
    /// v' = μ·v + (c·g + λ·p), p' = p − rate·v' with c of `DenseOptimizer.clipCoefficient`; a running statistic moves by a
    /// tenth towards the mean over the micro-batches.
    ///
    /// - Parameter totalSquaredNorm: the squared norm of the whole gradient, the same on every shard.
    /// - Returns: the new values: f32 [L]; they count once `commit` is called.
    /// - Throws: `BackboneError` if there is no gradient, or a number is not finite. Nothing is changed then.
    public mutating func update(totalSquaredNorm: Double, learningRate: Double) throws(BackboneError) -> [Tensor] {
        guard before == nil, let gradient else {
            throw BackboneError(.wrongPhase, "an update needs the gradients of this step first")
        }
        guard totalSquaredNorm.isFinite, totalSquaredNorm >= 0 else {
            throw BackboneError(
                .invalidPayload, "the squared gradient norm \(totalSquaredNorm) is not a finite number from 0 up")
        }
        guard learningRate.isFinite, learningRate >= 0 else {
            throw BackboneError(.invalidPayload, "the learning rate \(learningRate) is not a finite number from 0 up")
        }
        let previous = pfc_flush_denormals_enter()
        defer { pfc_flush_denormals_leave(previous) }
        let nextParameters = fresh()
        let nextMomentum = fresh()
        let clip = optimizer.clipCoefficient(squaredNorm: totalSquaredNorm)
        if range.count > 0 {
            let p = parameters.buffer(Float.self).baseAddress!
            let v = momentum.buffer(Float.self).baseAddress!
            let g = gradient.buffer(Float.self).baseAddress!
            let pNext = nextParameters.mutable(Float.self).baseAddress!
            let vNext = nextMomentum.mutable(Float.self).baseAddress!
            for (segment, part) in layout.parts(in: range) {
                let at = part.lowerBound - range.lowerBound
                switch segment.kind {
                case .parameter:
                    pfc_sgd(
                        p + at, v + at, g + at, part.count, clip, Float(learningRate), optimizer.momentum,
                        optimizer.weightDecay, pNext + at, vNext + at)
                case .statistic:
                    pfc_running_statistics(
                        p + at, g + at, part.count, BackboneConfiguration.statisticsMomentum, Float(microBatchCount),
                        pNext + at)
                    (vNext + at).update(from: v + at, count: part.count)
                case .frozen:
                    (pNext + at).update(from: p + at, count: part.count)
                    (vNext + at).update(from: v + at, count: part.count)
                }
            }
        }
        before = (parameters, momentum)
        parameters = nextParameters
        momentum = nextMomentum
        return [parameters]
    }

    /// The step counts: what it replaced is let go.
    public mutating func commit() {
        if let before { spare = [before.parameters, before.momentum] }
        before = nil
        gradient = nil
    }

    /// The step never happened: values and momentum are those of before, bit for bit. Also forgets a summed gradient.
    public mutating func rollback() {
        if let before {
            spare = [parameters, momentum]
            (parameters, momentum) = before
        }
        before = nil
        gradient = nil
    }

    /// Memory of L floats, reused if nobody else (a message on its way) still refers to it.
    private mutating func fresh() -> Tensor {
        while let tensor = spare.popLast() {
            var storage = tensor.storage
            let byteOffset = tensor.byteOffset
            _ = consume tensor
            if isKnownUniquelyReferenced(&storage) {
                return Tensor(dtype: .f32, shape: [range.count], storage: storage, byteOffset: byteOffset)
            }
        }
        return Tensor(uninitialized: Float.self, shape: [range.count])
    }

    /// Values and momentum of one owned dense slice, sharing memory: what a copy of the slice to another shard is made of.
    public func state(ofSlice slice: Int) -> (parameters: Tensor, momentum: Tensor) {
        precondition(slices.contains(slice), "dense slice \(slice) is not among \(slices)")
        let part = layout.range(ofSlices: slice..<slice + 1, of: sliceCount)
        let local = part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound
        return (parameters.rows(local), momentum.rows(local))
    }

    /// A hash of the content of each owned dense slice, values and momentum: 32 hexadecimal digits each.
    public func contentHashes() -> [String] {
        slices.map { slice in
            let state = state(ofSlice: slice)
            return ContentHash.hex(of: [state.parameters, state.momentum])
        }
    }

    /// Memory held, in bytes: values, momentum, and the undo record or spare memory of a step.
    public var memoryBytes: Int {
        ([parameters, momentum] + spare).reduce(0) { $0 + $1.byteCount } + (gradient?.byteCount ?? 0)
            + (before.map { $0.parameters.byteCount + $0.momentum.byteCount } ?? 0)
    }
}
