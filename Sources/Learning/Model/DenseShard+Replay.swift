public import Cluster
public import Tensors

extension DenseShard {
    /// Elements of a piece in which a dense slice is copied, saved and sent: 4 MiB of values and momentum together.
    public static let chunkElements = (4 << 20) / 8

    /// In how many pieces an owned dense slice is copied.
    public func chunkCount(ofSlice slice: Int) -> Int {
        (localRange(of: slice, in: slices).count + Self.chunkElements - 1) / Self.chunkElements
    }

    /// Values and momentum of piece `index` of an owned dense slice, sharing memory that is never written again. Nil if there
    /// is no such piece.
    public func chunk(_ index: Int, ofSlice slice: Int) -> (parameters: Tensor, momentum: Tensor)? {
        guard slices.contains(slice), index >= 0, index < chunkCount(ofSlice: slice) else { return nil }
        let local = localRange(of: slice, in: slices)
        let start = local.lowerBound + index * Self.chunkElements
        let range = start..<min(start + Self.chunkElements, local.upperBound)
        return (parameters.rows(range), momentum.rows(range))
    }

    /// Does the update of a step again: the same bits.
    ///
    /// - Parameters:
    ///   - number: the step.
    ///   - kept: the summed gradient f32 of dense slices `recorded`, ascending, among which all owned ones must be.
    ///   - ahead: how far the pieces of slices are that were not copied between the same steps: of each such slice, the step
    ///     after which each piece (`chunkElements`) was copied. Pieces from this step or a later one keep their values.
    ///   - commit: false to leave the update as `update` does: `commit` or `rollback` comes next.
    /// - Throws: `BackboneError` if the gradient does not fit, a number is not finite, or an update is neither committed nor
    ///   rolled back. Nothing is changed then.
    public mutating func replay(
        step number: Int, gradient kept: Tensor, of recorded: SliceSet, totalSquaredNorm: Double, learningRate: Double,
        ahead: [Int: [Int]] = [:], commit: Bool = true
    ) throws(BackboneError) {
        guard before == nil else {
            throw BackboneError(.wrongPhase, "replay before the last update was committed or rolled back")
        }
        let part = try restricted(kept, of: recorded, to: slices)
        let (nextParameters, nextMomentum) = try updated(
            gradient: part, totalSquaredNorm: totalSquaredNorm, learningRate: learningRate)
        for (slice, steps) in ahead where slices.contains(slice) {
            let local = localRange(of: slice, in: slices)
            for (index, step) in steps.enumerated() where step >= number {
                let start = local.lowerBound + index * Self.chunkElements
                let end = min(start + Self.chunkElements, local.upperBound)
                if start >= end { continue }
                nextParameters.rows(start..<end).rawPointer.copyMemory(
                    from: parameters.rows(start..<end).rawPointer, byteCount: (end - start) * 4)
                nextMomentum.rows(start..<end).rawPointer.copyMemory(
                    from: momentum.rows(start..<end).rawPointer, byteCount: (end - start) * 4)
            }
        }
        before = (parameters, momentum)
        gradient = part
        (parameters, momentum) = (nextParameters, nextMomentum)
        if commit { self.commit() }
    }

    /// The part of a kept gradient f32 that is about `wanted`, sharing memory where it is in one piece.
    ///
    /// - Throws: `BackboneError` if it is not about all of these slices, or of another size.
    public func restricted(
        _ kept: Tensor, of recorded: SliceSet, to wanted: SliceSet
    ) throws(BackboneError) -> Tensor {
        guard recorded.bounds.lowerBound >= 0, recorded.bounds.upperBound <= sliceCount else {
            throw BackboneError(.invalidPayload, "dense slices \(recorded) are not within 0..<\(sliceCount)")
        }
        try checkShape(kept, "gradients", of: recorded)
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
            }, sharing: true)
    }
}
