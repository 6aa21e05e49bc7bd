internal import CKernels
internal import Model

/// A softmax along one axis: [outer, count, inner] in memory.
struct SoftmaxKernel: TrainingKernel {
    let outer: Int
    let count: Int
    let inner: Int

    func readsAgain(input index: Int) -> Bool { false }
    var readsOutputAgain: Bool { true }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        pfc_softmax_axis(inputs[0], outer, count, inner, output)
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let y = values.output, let dx = gradients.inputs[0] else { return }
        pfc_softmax_axis_backward(y, gradients.output, outer, count, inner, dx)
    }
}

/// A normalisation of every row.
///
/// Ba, Kiros, Hinton: *Layer Normalization*, 2016, equation 4.
struct LayerNormalizationKernel: TrainingKernel {
    let rows: Int
    let count: Int
    let epsilon: Float
    let weight: Int
    let bias: Int?
    let trains: (weight: Bool, bias: Bool)

    var stateCount: Int { 2 * rows }
    var trainsParameters: Bool { trains.weight || trains.bias }
    var workChannels: Int { count }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        pfc_layer_norm(
            inputs[0], rows, count, pass.flat + weight, bias.map { pass.flat + $0 }, epsilon, output, pass.state)
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let x = values.inputs[0] else { return }
        pass.thread.withDoubles { sums in
            pfc_layer_norm_backward(
                gradients.output, x, rows, count, pass.flat + weight, pass.state, gradients.inputs[0], sums,
                sums + count)
            for i in 0..<count {
                if trains.weight { gradients.parameters[weight + i] = Float(sums[i]) }
                if let bias, trains.bias { gradients.parameters[bias + i] = Float(sums[count + i]) }
            }
        }
    }
}
