internal import CKernels
internal import Model

/// A batch normalisation over one micro-batch, with the PReLU behind it or the addition of a second input, in one pass over memory.
///
/// Ioffe, Szegedy: *Batch normalization*, 2015, algorithm 1; the gradient is that of the batch's own mean and variance.
struct Normalization: TrainingKernel {
    let channels: Int
    /// Values of each channel in a micro-batch: samples × pixels.
    let rows: Int
    let epsilon: Float
    /// Where its vectors lie in the flat vector.
    let weight: Int
    let bias: Int
    let mean: Int
    let variance: Int
    /// The slope of the PReLU behind it.
    let slope: Int?
    /// Which of its vectors are trained.
    let trains: (weight: Bool, bias: Bool, slope: Bool)

    /// Mean, variance, scale, shift and inverse deviation of the micro-batch.
    var stateCount: Int { 5 * channels }
    var trainsParameters: Bool { trains.weight || trains.bias || trains.slope }
    var workChannels: Int { channels }
    var addsGradient: Bool { true }
    func readsAgain(input index: Int) -> Bool { index == 0 }
    func passesGradient(to index: Int) -> Bool { index == 1 }

    private func vector(_ pass: KernelPass, _ position: Int) -> Floats { pass.state + position * channels }

    /// y = prelu(x·scale + shift) + the second input.
    func forward(_ pass: KernelPass, _ inputs: [Floats], _ y: Floats) {
        let (x, flat) = (inputs[0], pass.flat)
        let (batchMean, batchVariance) = (vector(pass, 0), vector(pass, 1))
        if pass.training {
            pass.thread.withDoubles { pfc_norm_moments(x, rows, channels, batchMean, batchVariance, $0) }
        } else {
            batchMean.update(from: flat + mean, count: channels)
            batchVariance.update(from: flat + variance, count: channels)
        }
        pfc_norm_coefficients(
            flat + weight, flat + bias, batchMean, batchVariance, epsilon, channels, vector(pass, 2), vector(pass, 3),
            vector(pass, 4))
        pfc_norm_apply(
            x, rows, channels, vector(pass, 2), vector(pass, 3), slope.map { flat + $0 },
            inputs.count > 1 ? inputs[1] : nil, y)
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let x = values.inputs[0] else { return }
        let (scale, shift, inverse) = (vector(pass, 2), vector(pass, 3), vector(pass, 4))
        let slopes = slope.map { pass.flat + $0 }
        let gradient = gradients.parameters
        pass.thread.withDoubles { sums in
            let work = pass.thread.work.pointer + 6 * channels
            pfc_norm_backward_sums(
                gradients.output, x, rows, channels, vector(pass, 0), scale, shift, slopes, sums, work)
            if let dx = gradients.inputs[0] {
                pfc_norm_backward_apply(
                    gradients.output, x, rows, channels, vector(pass, 0), scale, shift, inverse, slopes, sums,
                    gradients.other, dx, work)
            }
            for c in 0..<channels {
                if trains.weight { gradient[weight + c] = Float(sums[channels + c] * Double(inverse[c])) }
                if trains.bias { gradient[bias + c] = Float(sums[c]) }
                if let slope, trains.slope { gradient[slope + c] = Float(sums[2 * channels + c]) }
            }
        }
    }

    /// The micro-batch's mean and unbiased variance.
    func writeStatistics(_ pass: KernelPass, _ gradient: Floats) {
        let unbiased = Float(rows) / Float(max(rows - 1, 1))
        for c in 0..<channels {
            gradient[mean + c] = vector(pass, 0)[c]
            gradient[variance + c] = vector(pass, 1)[c] * unbiased
        }
    }
}
