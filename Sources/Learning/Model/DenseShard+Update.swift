internal import CKernels
internal import Cluster
internal import Determinism
internal import ParameterStore
internal import Tensors

extension DenseShard {
    /// Elements that are computed and checked at a time: they stay in the cache in between. Each element is by itself.
    private static let block = 1 << 14

    /// The planes of `slices` after one step with `gradient`, f32 of as many elements.
    ///
    /// - Throws: `BackboneError` if a number is not finite; new values that are not name their layer.
    func updated(
        _ planes: [Tensor], _ slices: SliceSet, step: Int, gradient: Tensor, totalSquaredNorm: Double,
        learningRate: Double
    ) throws(BackboneError) -> [Tensor] {
        guard totalSquaredNorm.isFinite, totalSquaredNorm >= 0 else {
            throw BackboneError(
                .invalidPayload, "the squared gradient norm \(totalSquaredNorm) is not a finite number from 0 up")
        }
        guard learningRate.isFinite, learningRate >= 0 else {
            throw BackboneError(.invalidPayload, "the learning rate \(learningRate) is not a finite number from 0 up")
        }
        let previous = pfc_flush_denormals_enter()
        defer { pfc_flush_denormals_leave(previous) }
        let next = planes.map { fresh(like: $0) }
        defer { withExtendedLifetime((gradient, planes, next)) {} }
        guard gradient.count > 0 else { return next }
        let update = PlaneUpdate(
            optimizer: optimizer, step: step, seed: seed, planes: planes, next: next,
            gradient: gradient.pointer(Float.self), clip: optimizer.clipCoefficient(squaredNorm: totalSquaredNorm),
            learningRate: Float(learningRate))
        var offset = 0
        for range in layout.ranges(ofSlices: slices, of: sliceCount) {
            for (segment, part) in layout.parts(in: range) {
                let at = offset + part.lowerBound - range.lowerBound
                switch segment.kind {
                case .parameter:
                    for start in stride(from: at, to: at + part.count, by: Self.block) {
                        let elements = start..<min(start + Self.block, at + part.count)
                        let place = part.lowerBound + start - at
                        guard update(elements, place: place, decays: optimizer.decays(segment)) else {
                            spare = next
                            throw BackboneError(
                                .nonFinite,
                                "the updated values of layer \(segment.name) are not finite: lower the learning rate (\(learningRate)) or clip"
                            )
                        }
                    }
                case .statistic:
                    update.moveStatistics(at..<at + part.count, batches: microBatchCount)
                    update.keep(at..<at + part.count, planes: 1...)
                case .frozen: update.keep(at..<at + part.count, planes: 0...)
                }
            }
            offset += range.count
        }
        return next
    }

    /// Memory of as many elements, reused if nobody else (a message on its way) still refers to it.
    private func fresh(like model: Tensor) -> Tensor {
        while let index = spare.lastIndex(where: { $0.dtype == model.dtype && $0.count == model.count }) {
            let tensor = spare.remove(at: index)
            var storage = tensor.storage
            let byteOffset = tensor.byteOffset
            _ = consume tensor
            if isKnownUniquelyReferenced(&storage) {
                return Tensor(dtype: model.dtype, shape: model.shape, storage: storage, byteOffset: byteOffset)
            }
        }
        return Tensor(
            dtype: model.dtype, shape: model.shape, storage: TensorStorage(byteCount: model.byteCount))
    }
}

/// A step of the optimiser on parts of vectors. Whoever uses it keeps their memory alive.
private struct PlaneUpdate {
    let optimizer: DenseOptimizer
    let step: Int
    let seed: UInt64
    let planes: [Tensor]
    let next: [Tensor]
    let gradient: UnsafePointer<Float>
    let clip: Float
    let learningRate: Float

    /// Updates `elements`, the first of which is number `place` of the flat vector.
    ///
    /// - Returns: whether what came out is finite.
    func callAsFunction(_ elements: Range<Int>, place: Int, decays: Bool) -> Bool {
        let (start, count) = (elements.lowerBound, elements.count)
        func old<Element: TensorElement>(_ plane: Int, _ type: Element.Type) -> UnsafePointer<Element> {
            UnsafePointer(planes[plane].pointer(type) + start)
        }
        func new<Element: TensorElement>(_ plane: Int, _ type: Element.Type) -> UnsafeMutablePointer<Element> {
            next[plane].pointer(type) + start
        }
        var kernel = optimizer.rule.kernel(learningRate: learningRate, decays: decays)
        switch optimizer.rule {
        case .sgd:
            pfc_sgd(
                old(0, Float.self), old(1, Float.self), gradient + start, count, clip, kernel.rate, kernel.momentum,
                kernel.decay, new(0, Float.self), new(1, Float.self))
        case .adamW(let adamW) where adamW.storage == .bf16:
            var key = KeyedRandom(seed: seed, purpose: .rounding, UInt64(step), 1)
            pfc_adamw_bf16(
                &kernel, UInt32(clamping: step + 1), old(0, Float.self), old(1, UInt16.self), old(2, UInt16.self),
                gradient + start, count, clip, key.next(), UInt64(place), new(0, Float.self), new(1, UInt16.self),
                new(2, UInt16.self))
            guard pfc_all_finite_bf16(new(1, UInt16.self), count) != 0,
                pfc_all_finite_bf16(new(2, UInt16.self), count) != 0
            else { return false }
        case .adamW:
            pfc_adamw(
                &kernel, UInt32(clamping: step + 1), old(0, Float.self), old(1, Float.self), old(2, Float.self),
                gradient + start, count, clip, new(0, Float.self), new(1, Float.self), new(2, Float.self))
            guard pfc_all_finite(new(1, Float.self), count) != 0, pfc_all_finite(new(2, Float.self), count) != 0
            else { return false }
        }
        return pfc_all_finite(new(0, Float.self), count) != 0
    }

    /// Moves running statistics by their mean over the micro-batches.
    func moveStatistics(_ elements: Range<Int>, batches: Int) {
        let start = elements.lowerBound
        pfc_running_statistics(
            planes[0].pointer(Float.self) + start, gradient + start, elements.count,
            BackboneConfiguration.statisticsMomentum, Float(batches), next[0].pointer(Float.self) + start)
    }

    /// Takes elements over as they are.
    func keep(_ elements: Range<Int>, planes kept: PartialRangeFrom<Int>) {
        for (old, new) in zip(planes, next).dropFirst(kept.lowerBound) {
            let size = old.dtype.size
            (new.rawPointer + elements.lowerBound * size).copyMemory(
                from: old.rawPointer + elements.lowerBound * size, byteCount: elements.count * size)
        }
    }
}
