internal import CKernels
internal import Model

/// A batch normalisation over one micro-batch, with the PReLU behind it if there is one, in one pass over memory.
///
/// Ioffe, Szegedy: *Batch normalization*, 2015, algorithm 1; the gradient is that of the batch's own mean and variance.
struct Normalization: Sendable {
    let channels: Int
    /// Values of each channel in a micro-batch: samples × pixels.
    let rows: Int
    /// Where its vectors lie in the flat vector.
    let weight: Int
    let bias: Int
    let mean: Int
    let variance: Int
    /// The slope of the PReLU behind it.
    let slope: Int?
    /// Whether the weight is trained.
    let trainsWeight: Bool
    /// Where mean, variance, scale, shift and inverse deviation lie in a context.
    let state: Int

    /// The floats of `state`.
    static func stateCount(channels: Int) -> Int { 5 * channels }

    private func vector(_ context: Floats, _ position: Int) -> Floats {
        context + state + position * channels
    }

    /// Finds scale and shift: from the micro-batch `x` in training, from the running statistics otherwise.
    func prepare(
        _ x: Floats, _ flat: Floats, _ context: Floats,
        training: Bool, on thread: KernelThread
    ) {
        let (batchMean, batchVariance) = (vector(context, 0), vector(context, 1))
        if training {
            thread.withDoubles { pfc_norm_moments(x, rows, channels, batchMean, batchVariance, $0) }
        } else {
            batchMean.update(from: flat + mean, count: channels)
            batchVariance.update(from: flat + variance, count: channels)
        }
        pfc_norm_coefficients(
            flat + weight, flat + bias, batchMean, batchVariance, BackboneConfiguration.epsilon, channels,
            vector(context, 2), vector(context, 3), vector(context, 4))
    }

    /// y = prelu(x·scale + shift) + residual, after `prepare`.
    func apply(
        _ x: Floats, _ flat: Floats, _ context: Floats,
        residual: Floats? = nil, to y: Floats
    ) {
        pfc_norm_apply(x, rows, channels, vector(context, 2), vector(context, 3), slope.map { flat + $0 }, residual, y)
    }

    /// ∂loss/∂x (plus `other`) from ∂loss/∂y, and the gradients of its vectors.
    ///
    /// In place of gradients, the statistics get the micro-batch's mean and unbiased variance.
    func backward(
        _ dy: Floats, _ x: Floats, _ flat: Floats,
        _ context: Floats, other: Floats? = nil,
        to dx: Floats, gradient: Floats, on thread: KernelThread
    ) {
        let (batchMean, batchVariance) = (vector(context, 0), vector(context, 1))
        let (scale, shift, inverse) = (vector(context, 2), vector(context, 3), vector(context, 4))
        let slopes = slope.map { flat + $0 }
        thread.withDoubles { sums in
            let work = thread.work.pointer + 6 * channels
            pfc_norm_backward_sums(dy, x, rows, channels, batchMean, scale, shift, slopes, sums, work)
            pfc_norm_backward_apply(
                dy, x, rows, channels, batchMean, scale, shift, inverse, slopes, sums, other, dx, work)
            let unbiased = Float(rows) / Float(max(rows - 1, 1))
            for c in 0..<channels {
                gradient[weight + c] = trainsWeight ? Float(sums[channels + c] * Double(inverse[c])) : 0
                gradient[bias + c] = Float(sums[c])
                gradient[mean + c] = batchMean[c]
                gradient[variance + c] = batchVariance[c] * unbiased
                if let slope { gradient[slope + c] = Float(sums[2 * channels + c]) }
            }
        }
    }
}
