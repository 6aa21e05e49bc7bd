package import CKernels

extension Graph.Activation {
    /// Its C kernel, and the numbers that this takes.
    package var kernel: (kind: pfc_activation, bounds: (Float, Float)) {
        switch self {
        case .relu: (PFC_RELU, (0, 0))
        case .clip(let low, let high): (PFC_CLIP, (low, high))
        case .leakyRelu(let slope): (PFC_LEAKY_RELU, (slope, 0))
        case .sigmoid: (PFC_SIGMOID, (0, 0))
        case .tanh: (PFC_TANH, (0, 0))
        case .hardSigmoid: (PFC_HARD_SIGMOID, (0, 0))
        case .hardSwish: (PFC_HARD_SWISH, (0, 0))
        case .gelu: (PFC_GELU, (0, 0))
        case .silu: (PFC_SILU, (0, 0))
        }
    }
}
