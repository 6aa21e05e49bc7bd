internal import CKernels
public import Cluster
public import ParameterStore
public import Tensors

/// The backbone's parameters on one shard: any set of dense slices of the flat vector, with what the optimiser keeps beside them.
///
/// A step is `dense` (sum the gradient), `update` (change the values), then `commit` or `rollback`. Vectors of length L are the
/// active slices one after the other, ascending. The values of a slice depend on nothing but the configuration, the seed and the
/// gradients: not on which slices are active together. A shard without slices, and a backbone without parameters, are
/// ordinary cases with L = 0.
///
/// Slices may be held that are not active: copies on their way here, which steps do not touch. One thread at a time may call.
public final class DenseShard {
    public let layout: ParameterLayout
    /// The dense slices that steps are over.
    public private(set) var slices: SliceSet
    /// Nd: dense slices in all.
    public let sliceCount: Int
    public let optimizer: DenseOptimizer
    /// How the planes are kept.
    public let format: TableFormat
    /// M: micro-batches of a global batch.
    public let microBatchCount: Int
    /// The elements of the flat vector that steps are over, ascending; L floats in all.
    public private(set) var ranges: [Range<Int>]
    /// Key of initial values and of stochastic rounding.
    let seed: UInt64
    /// What gradients are sent and logged in: f32 or bf16.
    public let exchangedGradients: NumberFormat

    /// What is kept of the active slices, plane by plane: the values f32 [L], then the optimiser's planes [L]. Never written again: the
    /// next update makes new ones.
    public internal(set) var planes: [Tensor]
    /// Slices that are not active.
    private var held: [Int: [Tensor]] = [:]

    /// The gradient of the step in hand, summed over the micro-batches: f32 [L]. Nil until `dense` made it.
    public internal(set) var gradient: Tensor?
    /// The planes before an update that is not committed yet.
    var before: [Tensor]?
    var spare: [Tensor] = []

    /// Dense slices `slices` of `sliceCount` at their starting values.
    ///
    /// - Parameter initial: a safetensors file with InsightFace's names to start from (see `BackboneFile`); empty for random
    ///   values by `seed`.
    /// - Throws: `BackboneError` if the slices or the optimiser are invalid, or the file does not fit.
    public convenience init(
        layout: ParameterLayout, slices: SliceSet, of sliceCount: Int, seed: UInt64, initial: String = "",
        optimizer: DenseOptimizer = DenseOptimizer(), microBatchCount: Int, exchangedGradients: NumberFormat = .f32
    ) throws(BackboneError) {
        try Self.check(slices, sliceCount, optimizer, microBatchCount)
        let planes = try Self.initialPlanes(
            layout.ranges(ofSlices: slices, of: sliceCount), layout, seed: seed, initial: initial,
            optimizer.rule.denseFormat)
        try self.init(
            layout: layout, slices: slices, of: sliceCount, seed: seed, planes: planes, optimizer: optimizer,
            microBatchCount: microBatchCount, exchangedGradients: exchangedGradients)
    }

    /// Dense slices `slices` of `sliceCount` at given values: each plane [L], in the format that the optimiser keeps it in.
    ///
    /// - Throws: `BackboneError` if a size does not fit.
    public init(
        layout: ParameterLayout, slices: SliceSet, of sliceCount: Int, seed: UInt64 = 0, planes: [Tensor],
        optimizer: DenseOptimizer = DenseOptimizer(), microBatchCount: Int, exchangedGradients: NumberFormat = .f32
    ) throws(BackboneError) {
        try Self.check(slices, sliceCount, optimizer, microBatchCount)
        ranges = layout.ranges(ofSlices: slices, of: sliceCount)
        self.layout = layout
        self.slices = slices
        self.sliceCount = sliceCount
        self.optimizer = optimizer
        self.microBatchCount = microBatchCount
        self.seed = seed
        self.exchangedGradients = exchangedGradients
        self.planes = planes
        format = optimizer.rule.denseFormat
        try checkShapes(planes, of: slices)
    }

    /// The current values: f32 [L].
    public var parameters: Tensor { planes[0] }

    private static func initialPlanes(
        _ ranges: [Range<Int>], _ layout: ParameterLayout, seed: UInt64, initial: String, _ format: TableFormat
    ) throws(BackboneError) -> [Tensor] {
        let parameters: Tensor
        if initial.isEmpty {
            parameters = joined(ranges.map { layout.initialValues(in: $0, seed: seed) }, .f32, sharing: true)
        } else {
            let all = try BackboneFile.read(initial, layout: layout)
            parameters = joined(ranges.map { all.rows($0) }, .f32)
        }
        return [parameters] + format.state.map { zeros($0, parameters.count) }
    }

    private static func zeros(_ plane: Plane, _ count: Int) -> Tensor {
        let tensor = Tensor(
            dtype: plane.format.dtype, shape: [count],
            storage: TensorStorage(byteCount: count * plane.format.byteCount(width: 1)))
        tensor.rawPointer.initializeMemory(as: UInt8.self, repeating: 0, count: tensor.byteCount)
        return tensor
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
    func checkShape(
        _ tensor: Tensor, _ what: String, _ dtype: DType = .f32, of slices: SliceSet
    ) throws(BackboneError) {
        let count = elementCount(of: slices)
        guard tensor.dtype == dtype, tensor.shape == [count] else {
            throw BackboneError(
                .invalidPayload,
                "\(what) are \(tensor.dtype) \(tensor.shape); dense slices \(slices) of \(sliceCount) need \(dtype) [\(count)]"
            )
        }
    }

    private func checkShapes(_ planes: [Tensor], of slices: SliceSet) throws(BackboneError) {
        guard planes.count == format.planes.count else {
            throw BackboneError(.invalidPayload, "\(planes.count) planes of dense slices \(slices): need \(format)")
        }
        for (tensor, plane) in zip(planes, format.planes) {
            try checkShape(tensor, plane.name, plane.format.dtype, of: slices)
        }
    }

    /// Floats of dense slices.
    func elementCount(of slices: SliceSet) -> Int {
        layout.ranges(ofSlices: slices, of: sliceCount).reduce(0) { $0 + $1.count }
    }

    /// L.
    public var count: Int { parameters.count }

    // MARK: A step

    /// The dense phase: sums the pushed gradients over the micro-batch tree.
    ///
    /// - Parameters:
    ///   - pushed: for each rank, its nodes i32 [K,2] and gradients [K,L], in the format that they are sent in. Together they
    ///     cover every micro-batch once. Calling it again before `update` replaces the gradient.
    ///   - step: its number, from 0.
    /// - Returns: the squared norm of the gradient on each owned dense slice, trained parameters only: f64 [slices].
    /// - Throws: `BackboneError`: `invalidPayload` for wrong tensors or nodes, `nonFinite` naming the layer,
    ///   `wrongPhase` if an update is neither committed nor rolled back. Nothing is changed then.
    public func dense(pushed: [[Tensor]], step: Int) throws(BackboneError) -> [Tensor] {
        guard before == nil else {
            throw BackboneError(.wrongPhase, "gradients arrived before the last update was committed or rolled back")
        }
        let previous = pfc_flush_denormals_enter()
        defer { pfc_flush_denormals_leave(previous) }
        let total = try sum(in: ranges, step).total(pushed)
        let norms = try squaredNorms(total)
        gradient = total
        return [Tensor(norms)]
    }

    /// Sums the pushed gradients of slices that are others', as `dense` does: nothing here changes.
    ///
    /// - Parameters:
    ///   - pushed: for each rank, its nodes i32 [K,2] and gradients [K, elements of `slices`].
    ///   - step: its number, from 0.
    /// - Returns: f32, over the elements of `slices`, ascending.
    /// - Throws: `BackboneError` `invalidPayload` for wrong tensors or nodes.
    public func sum(of slices: SliceSet, pushed: [[Tensor]], step: Int) throws(BackboneError) -> Tensor {
        let previous = pfc_flush_denormals_enter()
        defer { pfc_flush_denormals_leave(previous) }
        return try sum(in: layout.ranges(ofSlices: slices, of: sliceCount), step).total(pushed)
    }

    private func sum(in ranges: [Range<Int>], _ step: Int) -> GradientSum {
        GradientSum(
            ranges: ranges, microBatchCount: microBatchCount,
            rounding: exchangedGradients == .bf16 ? DenseGradientRounding(seed: seed, step: step) : nil)
    }

    /// What a log keeps of a summed gradient: in the format that its parts were sent in, which has all its bits.
    public func logged(_ gradient: Tensor) -> Tensor { exchangedGradients == .bf16 ? gradient.narrowed : gradient }

    /// Vectors over the elements of two disjoint sets of slices as one over both, ascending.
    public func merged(_ a: Tensor, of first: SliceSet, _ b: Tensor, of second: SliceSet) -> Tensor {
        Self.joined(
            first.union(second).numbers.map { slice in
                first.contains(slice)
                    ? a.rows(localRange(of: slice, in: first)) : b.rows(localRange(of: slice, in: second))
            }, .f32)
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

    /// The update phase: clips, takes one step of the optimiser, moves the running statistics. A backbone without parameters needs no
    /// dense phase before it.
    ///
    /// The optimiser gets c·g with c of `DenseOptimizer.clipCoefficient`; a running statistic moves by a tenth towards the mean over
    /// the micro-batches.
    ///
    /// - Parameters:
    ///   - step: its number, from 0.
    ///   - totalSquaredNorm: the squared norm of the whole gradient, the same on every shard.
    /// - Returns: the new values: f32 [L]; they count once `commit` is called.
    /// - Throws: `BackboneError` if there is no gradient, or a number is not finite; new values that are not finite name their
    ///   layer. Nothing is changed then.
    public func update(
        step: Int, totalSquaredNorm: Double, learningRate: Double
    ) throws(BackboneError) -> [Tensor] {
        if gradient == nil, layout.count == 0 { gradient = Tensor(zeros: Float.self, shape: [0]) }
        guard before == nil, let gradient else {
            throw BackboneError(.wrongPhase, "an update needs the gradients of this step first")
        }
        let next = try updated(
            planes, slices, step: step, gradient: gradient, totalSquaredNorm: totalSquaredNorm,
            learningRate: learningRate)
        before = planes
        planes = next
        return [parameters]
    }

    /// The step counts: what it replaced is let go.
    public func commit() {
        if let before { spare = before }
        before = nil
        gradient = nil
    }

    /// The step never happened: the planes are those of before, bit for bit. Also forgets a summed gradient.
    public func rollback() {
        if let before {
            spare = planes
            planes = before
        }
        before = nil
        gradient = nil
    }

    // MARK: Slices

    /// Takes dense slices up at given values, and activates them: each plane the slices' elements, ascending.
    ///
    /// - Throws: `BackboneError` if a slice is active already or is none, a size does not fit, or an update is neither committed
    ///   nor rolled back. Nothing is changed then.
    public func add(_ added: SliceSet, planes new: [Tensor]) throws(BackboneError) {
        try Self.check(added, sliceCount, optimizer, microBatchCount)
        guard added.isDisjoint(with: slices) else {
            throw BackboneError(.invalidConfiguration, "some of dense slices \(added) are active already: \(slices)")
        }
        try checkShapes(new, of: added)
        try replace(with: slices.union(added), from: [(slices, planes), (added, new)])
        for slice in added.numbers { held[slice] = nil }
    }

    /// Gives dense slices up, active or held. Those that are neither are no matter.
    ///
    /// - Throws: `BackboneError` if one is active and an update is neither committed nor rolled back.
    public func remove(_ removed: SliceSet) throws(BackboneError) {
        if !removed.isDisjoint(with: slices) {
            try replace(with: slices.subtracting(removed), from: [(slices, planes)])
        }
        for slice in removed.numbers { held[slice] = nil }
    }

    /// Takes a slice up without activating it: to be filled through `withChunk`.
    ///
    /// - Throws: `BackboneError` if it is held or active already, or is no slice.
    public func hold(_ slice: Int) throws(BackboneError) {
        try checkNew(slice)
        let count = elementCount(of: [slice])
        held[slice] = format.planes.map { Self.zeros($0, count) }
    }

    /// Takes a slice up at its starting values, without activating it: see `init`.
    ///
    /// - Throws: `BackboneError` if it is held or active already, or is no slice, or the file does not fit.
    public func holdInitial(_ slice: Int, initial: String = "") throws(BackboneError) {
        try checkNew(slice)
        held[slice] = try Self.initialPlanes(
            layout.ranges(ofSlices: [slice], of: sliceCount), layout, seed: seed, initial: initial, format)
    }

    private func checkNew(_ slice: Int) throws(BackboneError) {
        try Self.check([slice], sliceCount, optimizer, microBatchCount)
        guard held[slice] == nil, !slices.contains(slice) else {
            throw BackboneError(.invalidConfiguration, "dense slice \(slice) is held already")
        }
    }

    /// Includes held slices in the steps from now on.
    ///
    /// - Throws: `BackboneError` if one is not held, or an update is neither committed nor rolled back.
    public func activate(_ activated: SliceSet) throws(BackboneError) {
        var sources = [(slices: slices, planes: planes)]
        for slice in activated.subtracting(slices).numbers {
            guard let planes = held[slice] else {
                throw BackboneError(.invalidConfiguration, "dense slice \(slice) is not held here")
            }
            sources.append(([slice], planes))
        }
        try replace(with: slices.union(activated), from: sources)
        for slice in activated.numbers { held[slice] = nil }
    }

    private func replace(
        with new: SliceSet, from sources: [(slices: SliceSet, planes: [Tensor])]
    ) throws(BackboneError) {
        guard before == nil else {
            throw BackboneError(
                .wrongPhase, "dense slices cannot change before the last update was committed or rolled back")
        }
        var parts: [[Tensor]] = format.planes.map { _ in [] }
        for slice in new.numbers {
            guard let source = sources.first(where: { $0.slices.contains(slice) }) else { continue }
            let local = localRange(of: slice, in: source.slices)
            for (index, plane) in source.planes.enumerated() { parts[index].append(plane.rows(local)) }
        }
        planes = zip(parts, format.planes).map { Self.joined($0, $1.format.dtype) }
        slices = new
        ranges = layout.ranges(ofSlices: new, of: sliceCount)
        gradient = nil
        spare = []
    }

    /// The planes of a slice that is held and not active.
    func heldPlanes(_ slice: Int) -> [Tensor]? { held[slice] }

    /// Replaces the planes of such a slice; what was there is memory for the next step.
    func setHeld(_ slice: Int, _ planes: [Tensor]) { spare = held.updateValue(planes, forKey: slice) ?? [] }

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
    static func joined(_ parts: [Tensor], _ dtype: DType, sharing: Bool = false) -> Tensor {
        if sharing && parts.count == 1 { return parts[0] }
        let count = parts.reduce(0) { $0 + $1.count }
        let result = Tensor(
            dtype: dtype, shape: [count], storage: TensorStorage(byteCount: count * dtype.size))
        var offset = 0
        for part in parts where part.count > 0 {
            (result.rawPointer + offset).copyMemory(from: part.rawPointer, byteCount: part.byteCount)
            offset += part.byteCount
        }
        withExtendedLifetime(parts) {}
        return result
    }

    /// The planes of one active slice, sharing memory. The tensors are never written again: steps make new ones.
    public func state(ofSlice slice: Int) -> [Tensor] {
        precondition(slices.contains(slice), "dense slice \(slice) is not among \(slices)")
        let local = localRange(of: slice, in: slices)
        return planes.map { $0.rows(local) }
    }

    /// A hash of the content of each active slice, ascending, all planes: 32 hexadecimal digits each.
    public func contentHashes() -> [String] { slices.numbers.map { ContentHash.hex(of: state(ofSlice: $0)) } }

    /// Memory held, in bytes: the planes, and the undo record or spare memory of a step.
    public var memoryBytes: Int {
        (planes + spare + (before ?? []) + held.values.flatMap { $0 }).reduce(gradient?.byteCount ?? 0) {
            $0 + $1.byteCount
        }
    }
}
