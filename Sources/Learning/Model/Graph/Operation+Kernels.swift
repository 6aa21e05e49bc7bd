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

extension Graph.Binary {
    /// Its C kernel.
    package var kernel: pfc_binary_kind {
        switch self {
        case .add: PFC_ADD
        case .subtract: PFC_SUBTRACT
        case .multiply: PFC_MULTIPLY
        case .divide: PFC_DIVIDE
        }
    }
}

extension Graph.Pooling {
    /// For its C kernel, of images [channels, height, width] to `output`.
    package func window(samples: Int, _ input: [Int], _ output: [Int]) -> pfc_window {
        pfc_window(
            samples: samples, channels: input[0], height: input[1], width: input[2], out_height: output[1],
            out_width: output[2], kernel_height: kernel.height, kernel_width: kernel.width,
            stride_height: strides.height, stride_width: strides.width, top: padding.top, left: padding.left,
            bottom: padding.bottom, right: padding.right, counts_padding: countsPadding ? 1 : 0)
    }
}
