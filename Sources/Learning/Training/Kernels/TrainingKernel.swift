internal import Model

/// One operator, compiled for micro-batches of g samples: its value, and the gradients of its inputs and parameters.
///
/// Immutable and shared by all threads: values lie in memory that the caller gives.
protocol TrainingKernel: Sendable {
    /// Floats that it keeps from the forward to the backward pass.
    var stateCount: Int { get }
    /// Whether the backward pass reads input `index` again.
    func readsAgain(input index: Int) -> Bool
    /// Whether the backward pass reads the output again.
    var readsOutputAgain: Bool { get }
    /// Whether the gradient of input `index` is that of the output as it is.
    func passesGradient(to index: Int) -> Bool
    /// Whether it adds a gradient that its first input has already while it writes its own.
    var addsGradient: Bool { get }
    /// Whether any of its parameters is trained.
    var trainsParameters: Bool { get }
    /// The layer with weights in it that are packed before use.
    var weighted: WeightedOperator? { get }
    /// The most floats of its own sums, in channel vectors.
    var workChannels: Int { get }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) throws(BackboneError)

    /// Writes the gradients of its inputs where `gradients.inputs` has a place, and those of its parameters into the flat vector.
    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) throws(BackboneError)

    /// Writes what stands in the flat vector in place of gradients: a normalisation's statistics.
    func writeStatistics(_ pass: KernelPass, _ gradient: Floats)
}

extension TrainingKernel {
    var stateCount: Int { 0 }
    var readsOutputAgain: Bool { false }
    var addsGradient: Bool { false }
    var trainsParameters: Bool { false }
    var weighted: WeightedOperator? { nil }
    var workChannels: Int { 0 }
    func readsAgain(input index: Int) -> Bool { true }
    func passesGradient(to index: Int) -> Bool { false }
    func writeStatistics(_ pass: KernelPass, _ gradient: Floats) {}
}

/// What a kernel is run with.
struct KernelPass {
    let parameters: PackedParameters
    /// Statistics are the micro-batch's, and not the running ones.
    let training: Bool
    let thread: KernelThread
    /// What this kernel keeps.
    let state: Floats
    /// Of the micro-batch's first sample.
    let place: BatchPlace

    var flat: Floats { parameters.flat }
}

/// What the forward pass read and made; nil what the kernel does not read again.
struct KernelValues {
    let inputs: [Floats?]
    let output: Floats?
}

/// Gradients of one kernel.
struct KernelGradients {
    /// ∂loss/∂output.
    let output: Floats
    /// Where ∂loss/∂input goes; nil where nobody needs it.
    let inputs: [Floats?]
    /// What the first input's gradient is so far, if the kernel adds it.
    let other: Floats?
    /// Those of the parameters: the flat vector.
    let parameters: Floats
}
