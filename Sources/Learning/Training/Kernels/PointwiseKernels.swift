internal import CKernels
internal import Model

/// A function of every number.
struct ActivationKernel: TrainingKernel {
    let kind: pfc_activation
    let bounds: (Float, Float)
    let count: Int

    init(_ activation: Graph.Activation, count: Int) {
        self.count = count
        (kind, bounds) = activation.kernel
    }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        pfc_activate(kind, bounds.0, bounds.1, inputs[0], count, output)
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let x = values.inputs[0], let dx = gradients.inputs[0] else { return }
        pfc_activate_backward(kind, bounds.0, bounds.1, x, gradients.output, count, dx)
    }
}

/// A PReLU by itself; behind a normalisation it is part of that.
struct PReLUKernel: TrainingKernel {
    let rows: Int
    /// Slopes to a row; 1 if one slope serves all.
    let channels: Int
    let slope: Int
    let trains: Bool

    var trainsParameters: Bool { trains }
    var workChannels: Int { channels }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        pfc_prelu(inputs[0], rows, channels, pass.flat + slope, output)
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let x = values.inputs[0] else { return }
        pass.thread.withDoubles { sums in
            pfc_prelu_backward(
                gradients.output, x, rows, channels, pass.flat + slope, gradients.inputs[0], sums,
                pass.thread.work.pointer + 6 * channels)
            if trains { for c in 0..<channels { gradients.parameters[slope + c] = Float(sums[c]) } }
        }
    }
}

/// An operator of two values, or of a value and a constant.
struct BinaryKernel: TrainingKernel {
    let kind: pfc_binary_kind
    /// Strides of the first and the second operand.
    let shape: pfc_broadcast
    /// Floats of each operand.
    let counts: (Int, Int)
    /// Where the constant lies, and whether it is the first operand and trained.
    let constant: (start: Int, isFirst: Bool, trains: Bool)?

    init(
        _ binary: Graph.Binary, shape: pfc_broadcast, counts: (Int, Int),
        constant: (start: Int, isFirst: Bool, trains: Bool)?
    ) {
        kind = binary.kernel
        self.shape = shape
        self.counts = counts
        self.constant = constant
    }

    /// Whether both operands have every extent of the result.
    private var isPlainSum: Bool { kind == PFC_ADD && constant == nil && counts.0 == counts.1 }

    var trainsParameters: Bool { constant?.trains ?? false }
    func readsAgain(input index: Int) -> Bool { kind == PFC_MULTIPLY || kind == PFC_DIVIDE }
    func passesGradient(to index: Int) -> Bool { isPlainSum }

    private func operands<Pointer>(_ inputs: [Pointer], _ constant: (Int) -> Pointer) -> (Pointer, Pointer) {
        guard let place = self.constant else { return (inputs[0], inputs[1]) }
        return place.isFirst ? (constant(place.start), inputs[0]) : (inputs[0], constant(place.start))
    }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        let (a, b) = operands(inputs) { pass.flat + $0 }
        withUnsafePointer(to: shape) { pfc_binary(kind, $0, a, b, output) }
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        if isPlainSum { return }
        let (a, b) = operands(values.inputs) { pass.flat + $0 }
        let (da, db) = operands(gradients.inputs) { constant?.trains == true ? gradients.parameters + $0 : nil }
        da?.update(repeating: 0, count: counts.0)
        db?.update(repeating: 0, count: counts.1)
        withUnsafePointer(to: shape) { pfc_binary_backward(kind, $0, a, b, gradients.output, da, db) }
    }
}
