public import Cluster
public import ParameterStore
public import Tensors

extension DenseShard {
    /// Elements of a piece in which a dense slice is copied, saved and sent: 4 MiB of all planes together.
    public var chunkElements: Int { (4 << 20) / format.byteCount(width: 1) }

    /// Size of a slice, and how it is cut into pieces.
    public func shape(ofSlice slice: Int) -> SliceShape {
        SliceShape(rowCount: elementCount(of: [slice]), width: 1, chunkRows: chunkElements, format: format)
    }

    /// The planes of piece `index` of an active slice, sharing memory that is never written again. Nil if there is no such piece.
    public func chunk(_ index: Int, ofSlice slice: Int) -> [Tensor]? {
        guard slices.contains(slice), case let shape = shape(ofSlice: slice), (0..<shape.chunkCount).contains(index)
        else { return nil }
        return state(ofSlice: slice).map { $0.rows(shape.rows(ofChunk: index)) }
    }

    /// Calls `body` with the memory of piece `index` of a slice that is held and not active, plane by plane, to write.
    ///
    /// - Throws: `BackboneError` if there is no such piece, and what `body` throws.
    public func withChunk<Result>(
        _ index: Int, ofSlice slice: Int, _ body: (_ planes: [UnsafeMutableRawBufferPointer]) throws -> Result
    ) throws -> Result {
        guard let planes = heldPlanes(slice), case let shape = shape(ofSlice: slice),
            (0..<shape.chunkCount).contains(index)
        else { throw BackboneError(.invalidPayload, "piece \(index) of dense slice \(slice) is not here") }
        return try withExtendedLifetime(planes) {
            try body(
                zip(planes, shape.bytes(ofChunk: index)).map { plane, bytes in
                    UnsafeMutableRawBufferPointer(start: plane.rawPointer + bytes.lowerBound, count: bytes.count)
                })
        }
    }

    /// Does the update of a step again on slices that are held and not active: the same bits. Those that are ahead of it as a whole need
    /// not be among `recorded`, which came before them.
    ///
    /// - Parameters:
    ///   - number: the step.
    ///   - kept: the summed gradient of dense slices `recorded`, as `logged` gave it, ascending, among which `wanted` must be.
    ///   - ahead: how far the pieces of slices are that were not copied between the same steps: of each such slice, the step
    ///     after which each piece (`chunkElements`) was copied. Pieces from this step or a later one keep their values.
    /// - Throws: `BackboneError` if a slice is not held, the gradient does not fit, or a number is not finite.
    public func replay(
        step number: Int, gradient kept: Tensor, of recorded: SliceSet, on wanted: SliceSet, totalSquaredNorm: Double,
        learningRate: Double, ahead: [Int: [Int]] = [:]
    ) throws(BackboneError) {
        for slice in wanted.numbers
        where SliceShape.isBehind(number, pieces: ahead[slice], chunkCount: shape(ofSlice: slice).chunkCount) {
            guard let planes = heldPlanes(slice) else {
                throw BackboneError(.invalidPayload, "dense slice \(slice) is not held here")
            }
            let next = try replayed(
                number, planes, slice, restricted(kept, of: recorded, to: [slice]).widened, totalSquaredNorm,
                learningRate, ahead: ahead[slice] ?? [])
            setHeld(slice, next)
        }
    }

    /// Does the update of a step again on the active slices, and leaves it as `update` does: `commit` or `rollback` comes next.
    ///
    /// - Throws: `BackboneError` if the gradient does not fit, a number is not finite, or an update is neither committed nor
    ///   rolled back. Nothing is changed then.
    public func replayUpToUpdated(
        step number: Int, gradient kept: Tensor, of recorded: SliceSet, totalSquaredNorm: Double, learningRate: Double
    ) throws(BackboneError) {
        guard before == nil else {
            throw BackboneError(.wrongPhase, "replay before the last update was committed or rolled back")
        }
        let part = try restricted(kept, of: recorded, to: slices).widened
        let next = try updated(
            planes, slices, step: number, gradient: part, totalSquaredNorm: totalSquaredNorm,
            learningRate: learningRate)
        (before, gradient) = (planes, part)
        planes = next
    }

    /// The planes of one slice after a step.
    private func replayed(
        _ number: Int, _ planes: [Tensor], _ slice: Int, _ gradient: Tensor, _ totalSquaredNorm: Double,
        _ learningRate: Double, ahead: [Int]
    ) throws(BackboneError) -> [Tensor] {
        let next = try updated(
            planes, [slice], step: number, gradient: gradient, totalSquaredNorm: totalSquaredNorm,
            learningRate: learningRate)
        let shape = shape(ofSlice: slice)
        for (index, step) in ahead.enumerated() where step >= number && index < shape.chunkCount {
            let range = shape.rows(ofChunk: index)
            for (old, new) in zip(planes, next) {
                let (source, target) = (old.rows(range), new.rows(range))
                target.rawPointer.copyMemory(from: source.rawPointer, byteCount: source.byteCount)
                withExtendedLifetime((source, target)) {}
            }
        }
        return next
    }

    /// The part of a logged gradient that is about `wanted`, sharing memory where it is in one piece.
    ///
    /// - Throws: `BackboneError` if it is not about all of these slices, or of another size.
    public func restricted(
        _ kept: Tensor, of recorded: SliceSet, to wanted: SliceSet
    ) throws(BackboneError) -> Tensor {
        guard recorded.bounds.lowerBound >= 0, recorded.bounds.upperBound <= sliceCount else {
            throw BackboneError(.invalidPayload, "dense slices \(recorded) are not within 0..<\(sliceCount)")
        }
        try checkShape(kept, "gradients", exchangedGradients.dtype, of: recorded)
        guard wanted.subtracting(recorded).isEmpty else {
            throw BackboneError(
                .invalidPayload, "gradients of dense slices \(recorded) were kept, and \(wanted) are asked for")
        }
        if wanted == recorded { return kept }
        return Self.joined(
            wanted.ranges.map { range in
                let first = localRange(of: range.lowerBound, in: recorded)
                let last = localRange(of: range.upperBound - 1, in: recorded)
                return kept.rows(first.lowerBound..<last.upperBound)
            }, kept.dtype, sharing: true)
    }
}
