internal import CKernels
internal import Tensors

extension DenseShard {
    /// Elements that are computed and checked at a time: they stay in the cache in between. Each element is by itself.
    private static let block = 1 << 14

    /// Values and momentum after one step with `gradient` f32 [L].
    ///
    /// - Throws: `BackboneError` if a number is not finite; new values that are not name their layer.
    mutating func updated(
        gradient: Tensor, totalSquaredNorm: Double, learningRate: Double
    ) throws(BackboneError) -> (parameters: Tensor, momentum: Tensor) {
        guard totalSquaredNorm.isFinite, totalSquaredNorm >= 0 else {
            throw BackboneError(
                .invalidPayload, "the squared gradient norm \(totalSquaredNorm) is not a finite number from 0 up")
        }
        guard learningRate.isFinite, learningRate >= 0 else {
            throw BackboneError(.invalidPayload, "the learning rate \(learningRate) is not a finite number from 0 up")
        }
        let previous = pfc_flush_denormals_enter()
        defer { pfc_flush_denormals_leave(previous) }
        let next = (parameters: fresh(), momentum: fresh())
        defer { withExtendedLifetime((gradient, next)) {} }
        guard let p = parameters.buffer(Float.self).baseAddress, let v = momentum.buffer(Float.self).baseAddress,
            let g = gradient.buffer(Float.self).baseAddress,
            let pNext = next.parameters.mutable(Float.self).baseAddress,
            let vNext = next.momentum.mutable(Float.self).baseAddress, count > 0
        else { return next }
        let clip = optimizer.clipCoefficient(squaredNorm: totalSquaredNorm)
        var offset = 0
        for range in ranges {
            for (segment, part) in layout.parts(in: range) {
                let at = offset + part.lowerBound - range.lowerBound
                switch segment.kind {
                case .parameter:
                    for start in stride(from: at, to: at + part.count, by: Self.block) {
                        let length = min(Self.block, at + part.count - start)
                        pfc_sgd(
                            p + start, v + start, g + start, length, clip, Float(learningRate), optimizer.momentum,
                            optimizer.weightDecay, pNext + start, vNext + start)
                        guard pfc_all_finite(pNext + start, length) != 0 else {
                            spare = [next.parameters, next.momentum]
                            throw BackboneError(
                                .nonFinite,
                                "the updated values of layer \(segment.name) are not finite: lower the learning rate (\(learningRate)) or clip"
                            )
                        }
                    }
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
            offset += range.count
        }
        return next
    }

    /// Memory of L floats, reused if nobody else (a message on its way) still refers to it.
    private mutating func fresh() -> Tensor {
        while let tensor = spare.popLast() {
            var storage = tensor.storage
            let byteOffset = tensor.byteOffset
            let fits = tensor.count == count
            _ = consume tensor
            if fits && isKnownUniquelyReferenced(&storage) {
                return Tensor(dtype: .f32, shape: [count], storage: storage, byteOffset: byteOffset)
            }
        }
        return Tensor(uninitialized: Float.self, shape: [count])
    }
}
