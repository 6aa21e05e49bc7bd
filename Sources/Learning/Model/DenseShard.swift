internal import CKernels
public import Cluster
public import Tensors

/// The dense optimiser: any set of dense slices of the backbone's flat vector, with their momentum.
///
/// A step is `dense` (sum the gradient), `update` (change the values), then `commit` or `rollback`. Vectors of length L are the
/// owned slices one after the other, ascending. The values of a slice depend on nothing but the configuration, the seed and the
/// gradients: not on which slices are owned together. A shard that owns nothing, and a backbone without parameters, are
/// ordinary cases with L = 0.
public struct DenseShard: Sendable {
    public let layout: ParameterLayout
    /// The dense slices owned here.
    public private(set) var slices: SliceSet
    /// Nd: dense slices in all.
    public let sliceCount: Int
    public let optimizer: DenseOptimizer
    /// M: micro-batches of a global batch.
    public let microBatchCount: Int
    /// The elements of the flat vector owned here, ascending; L floats in all.
    public private(set) var ranges: [Range<Int>]

    /// The current values: f32 [L]. Never written again: the next update makes new ones.
    public internal(set) var parameters: Tensor
    /// The momentum of every value (0 for statistics and frozen values): f32 [L].
    public internal(set) var momentum: Tensor

    /// The gradient of the step in hand, summed over the micro-batches: f32 [L], what a log keeps. Nil until `dense` made it.
    public internal(set) var gradient: Tensor?
    /// Values and momentum before an update that is not committed yet.
    var before: (parameters: Tensor, momentum: Tensor)?
    var spare: [Tensor] = []

    /// Dense slices `slices` of `sliceCount` at their starting values.
    ///
    /// - Parameter initial: a safetensors file with InsightFace's names to start from (see `BackboneFile`); empty for random
    ///   values by `seed`.
    /// - Throws: `BackboneError` if the slices or the optimiser are invalid, or the file does not fit.
    public init(
        layout: ParameterLayout, slices: SliceSet, of sliceCount: Int, seed: UInt64, initial: String = "",
        optimizer: DenseOptimizer = DenseOptimizer(), microBatchCount: Int
    ) throws(BackboneError) {
        try Self.check(slices, sliceCount, optimizer, microBatchCount)
        let ranges = layout.ranges(ofSlices: slices, of: sliceCount)
        let parameters: Tensor
        if initial.isEmpty {
            parameters = Self.joined(ranges.map { layout.initialValues(in: $0, seed: seed) }, sharing: true)
        } else {
            let all = try BackboneFile.read(initial, configuration: layout.configuration).parameters
            parameters = Self.joined(ranges.map { all.rows($0) })
        }
        try self.init(
            layout: layout, slices: slices, of: sliceCount, parameters: parameters,
            momentum: Tensor(zeros: Float.self, shape: parameters.shape), optimizer: optimizer,
            microBatchCount: microBatchCount)
    }

    /// Dense slices `slices` of `sliceCount` at given values and momentum, each f32 [L].
    ///
    /// - Throws: `BackboneError` if a size does not fit.
    public init(
        layout: ParameterLayout, slices: SliceSet, of sliceCount: Int, parameters: Tensor, momentum: Tensor,
        optimizer: DenseOptimizer = DenseOptimizer(), microBatchCount: Int
    ) throws(BackboneError) {
        try Self.check(slices, sliceCount, optimizer, microBatchCount)
        ranges = layout.ranges(ofSlices: slices, of: sliceCount)
        self.layout = layout
        self.slices = slices
        self.sliceCount = sliceCount
        self.optimizer = optimizer
        self.microBatchCount = microBatchCount
        self.parameters = parameters
        self.momentum = momentum
        try checkShape(parameters, "parameters", of: slices)
        try checkShape(momentum, "momentum", of: slices)
    }

    private static func check(
        _ slices: SliceSet, _ sliceCount: Int, _ optimizer: DenseOptimizer, _ microBatchCount: Int
    ) throws(BackboneError) {
        guard sliceCount > 0, slices.bounds.lowerBound >= 0, slices.bounds.upperBound <= sliceCount else {
            throw BackboneError(.invalidConfiguration, "dense slices \(slices) are not within 0..<\(sliceCount)")
        }
        guard microBatchCount > 0 else {
            throw BackboneError(
                .invalidConfiguration, "a global batch of \(microBatchCount) micro-batches is not possible")
        }
        try optimizer.validate()
    }

    /// Checks a vector over the elements of `slices`.
    func checkShape(_ tensor: Tensor, _ what: String, of slices: SliceSet) throws(BackboneError) {
        let count = layout.ranges(ofSlices: slices, of: sliceCount).reduce(0) { $0 + $1.count }
        guard tensor.dtype == .f32, tensor.shape == [count] else {
            throw BackboneError(
                .invalidPayload,
                "\(what) are \(tensor.dtype) \(tensor.shape); dense slices \(slices) of \(sliceCount) need f32 [\(count)]"
            )
        }
    }

    /// L.
    public var count: Int { parameters.count }

    // MARK: A step

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
        let total = try GradientSum(elements: count, microBatchCount: microBatchCount).total(pushed)
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
        var offset = 0
        for slice in slices.numbers {
            var norm = 0.0
            let range = layout.range(ofSlices: slice..<slice + 1, of: sliceCount)
            for (segment, part) in layout.parts(in: range) {
                let start = values.baseAddress! + (offset + part.lowerBound - range.lowerBound)
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
            offset += range.count
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
    /// - Throws: `BackboneError` if there is no gradient, or a number is not finite; new values that are not finite name their
    ///   layer. Nothing is changed then.
    public mutating func update(totalSquaredNorm: Double, learningRate: Double) throws(BackboneError) -> [Tensor] {
        guard before == nil, let gradient else {
            throw BackboneError(.wrongPhase, "an update needs the gradients of this step first")
        }
        let (nextParameters, nextMomentum) = try updated(
            gradient: gradient, totalSquaredNorm: totalSquaredNorm, learningRate: learningRate)
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

    // MARK: Slices

    /// Takes dense slices up at given values and momentum: each the slices' elements, ascending, f32.
    ///
    /// - Throws: `BackboneError` if a slice is owned already or is none, a size does not fit, or an update is neither committed
    ///   nor rolled back. Nothing is changed then.
    public mutating func add(
        _ added: SliceSet, parameters newParameters: Tensor, momentum newMomentum: Tensor
    ) throws(BackboneError) {
        try Self.check(added, sliceCount, optimizer, microBatchCount)
        guard added.isDisjoint(with: slices) else {
            throw BackboneError(.invalidConfiguration, "some of dense slices \(added) are owned already: \(slices)")
        }
        try checkShape(newParameters, "parameters", of: added)
        try checkShape(newMomentum, "momentum", of: added)
        try replace(
            with: slices.union(added),
            from: [(slices, parameters, momentum), (added, newParameters, newMomentum)])
    }

    /// Gives dense slices up. Those that are not owned are no matter.
    ///
    /// - Throws: `BackboneError` if an update is neither committed nor rolled back.
    public mutating func remove(_ removed: SliceSet) throws(BackboneError) {
        try replace(with: slices.subtracting(removed), from: [(slices, parameters, momentum)])
    }

    private mutating func replace(
        with new: SliceSet, from sources: [(slices: SliceSet, parameters: Tensor, momentum: Tensor)]
    ) throws(BackboneError) {
        guard before == nil else {
            throw BackboneError(
                .wrongPhase, "dense slices cannot change before the last update was committed or rolled back")
        }
        var parts: [(parameters: Tensor, momentum: Tensor)] = []
        for slice in new.numbers {
            guard let source = sources.first(where: { $0.slices.contains(slice) }) else { continue }
            let local = localRange(of: slice, in: source.slices)
            parts.append((source.parameters.rows(local), source.momentum.rows(local)))
        }
        (parameters, momentum) = (Self.joined(parts.map(\.parameters)), Self.joined(parts.map(\.momentum)))
        slices = new
        ranges = layout.ranges(ofSlices: new, of: sliceCount)
        gradient = nil
        spare = []
    }

    /// Where the elements of `slice` lie in a vector over `owned`.
    func localRange(of slice: Int, in owned: SliceSet) -> Range<Int> {
        var start = 0
        for range in owned.ranges {
            if range.contains(slice) {
                let first = layout.range(ofSlices: range.lowerBound..<slice, of: sliceCount).count
                let count = layout.range(ofSlices: slice..<slice + 1, of: sliceCount).count
                return start + first..<start + first + count
            }
            start += layout.range(ofSlices: range, of: sliceCount).count
        }
        return start..<start
    }

    /// Vectors one after the other, in memory of their own; a single one as it is if it may share its memory.
    static func joined(_ parts: [Tensor], sharing: Bool = false) -> Tensor {
        if sharing && parts.count == 1 { return parts[0] }
        let result = Tensor(uninitialized: Float.self, shape: [parts.reduce(0) { $0 + $1.count }])
        var offset = 0
        for part in parts where part.count > 0 {
            (result.rawPointer + offset).copyMemory(from: part.rawPointer, byteCount: part.byteCount)
            offset += part.byteCount
        }
        withExtendedLifetime(parts) {}
        return result
    }

    /// Values and momentum of one owned dense slice, sharing memory: what a copy of the slice to another shard is made of. The
    /// tensors are never written again: steps make new ones.
    public func state(ofSlice slice: Int) -> (parameters: Tensor, momentum: Tensor) {
        precondition(slices.contains(slice), "dense slice \(slice) is not among \(slices)")
        let local = localRange(of: slice, in: slices)
        return (parameters.rows(local), momentum.rows(local))
    }

    /// A hash of the content of each owned dense slice, ascending, values and momentum: 32 hexadecimal digits each.
    public func contentHashes() -> [String] {
        slices.numbers.map { slice in
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
