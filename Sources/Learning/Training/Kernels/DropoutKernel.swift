internal import Determinism

/// Dropout in training; in use, its input as it is.
struct DropoutKernel: TrainingKernel {
    let samples: Int
    /// Numbers of a sample.
    let count: Int
    let dropout: Dropout
    /// Among the dropouts of the network: each has masks of its own.
    let index: Int

    /// What every number was multiplied by.
    var stateCount: Int { samples * count }
    func readsAgain(input index: Int) -> Bool { false }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        guard pass.training else { return output.update(from: inputs[0], count: samples * count) }
        let kept = Float(1 / (1 - dropout.rate))
        // Of 2^64 numbers, the p·2^64 smallest ones drop.
        let bound = UInt64(dropout.rate * 0x1p64)
        for sample in 0..<samples {
            var random = KeyedRandom(
                seed: dropout.seed, purpose: .dropout, UInt64(pass.place.step), UInt64(pass.place.position + sample),
                UInt64(index))
            for place in sample * count..<(sample + 1) * count {
                let factor = random.next() < bound ? 0 : kept
                pass.state[place] = factor
                output[place] = inputs[0][place] * factor
            }
        }
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let dx = gradients.inputs[0] else { return }
        for place in 0..<samples * count { dx[place] = gradients.output[place] * pass.state[place] }
    }
}
