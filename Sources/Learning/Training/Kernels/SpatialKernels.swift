internal import CKernels
internal import Model

/// The largest or the mean of each window of an image in NHWC.
struct PoolingKernel: TrainingKernel {
    let kind: Graph.PoolingKind
    let window: pfc_window

    func readsAgain(input index: Int) -> Bool { kind == .maximum }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        withUnsafePointer(to: window) {
            switch kind {
            case .maximum: pfc_pool_maximum($0, inputs[0], output)
            case .average: pfc_pool_average($0, inputs[0], output)
            }
        }
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let dx = gradients.inputs[0] else { return }
        withUnsafePointer(to: window) {
            switch kind {
            case .maximum: if let x = values.inputs[0] { pfc_pool_maximum_backward($0, x, gradients.output, dx) }
            case .average: pfc_pool_average_backward($0, gradients.output, dx)
            }
        }
    }
}

/// Another order of an array's axes in memory.
struct PermutationKernel: TrainingKernel {
    /// Of the result, outermost first; and how far apart the elements of each axis lie in the input, and the other way round.
    let extents: [Int]
    let strides: [Int]
    let inverseExtents: [Int]
    let inverseStrides: [Int]

    /// - Parameters:
    ///   - input: extents of the input in memory, outermost first.
    ///   - order: the input's axis that each axis of the result is.
    init(input: [Int], order: [Int]) {
        func strides(_ extents: [Int]) -> [Int] {
            extents.indices.map { extents[($0 + 1)...].reduce(1, *) }
        }
        extents = order.map { input[$0] }
        self.strides = order.map { strides(input)[$0] }
        let back = input.indices.map { order.firstIndex(of: $0) ?? 0 }
        inverseExtents = input
        inverseStrides = back.map { strides(order.map { input[$0] })[$0] }
    }

    func readsAgain(input index: Int) -> Bool { false }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        pfc_permute(inputs[0], extents.count, extents, strides, output)
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let dx = gradients.inputs[0] else { return }
        pfc_permute(gradients.output, inverseExtents.count, inverseExtents, inverseStrides, dx)
    }
}

/// Arrays joined along an axis.
struct ConcatenationKernel: TrainingKernel {
    /// Blocks in each array, and floats of a block of each input.
    let blocks: Int
    let widths: [Int]

    func readsAgain(input index: Int) -> Bool { false }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        let total = widths.reduce(0, +)
        var start = 0
        for (input, width) in zip(inputs, widths) {
            pfc_copy_blocks(input, width, output + start, total, blocks, width)
            start += width
        }
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        let total = widths.reduce(0, +)
        var start = 0
        for (dx, width) in zip(gradients.inputs, widths) {
            if let dx { pfc_copy_blocks(gradients.output + start, total, dx, width, blocks, width) }
            start += width
        }
    }
}

/// A part of an axis.
struct SliceKernel: TrainingKernel {
    /// Blocks of `width` floats in the input, of which floats `part` are taken.
    let blocks: Int
    let width: Int
    let part: Range<Int>

    func readsAgain(input index: Int) -> Bool { false }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) {
        pfc_copy_blocks(inputs[0] + part.lowerBound, width, output, part.count, blocks, part.count)
    }

    func backward(_ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients) {
        guard let dx = gradients.inputs[0] else { return }
        dx.update(repeating: 0, count: blocks * width)
        pfc_copy_blocks(gradients.output, part.count, dx + part.lowerBound, width, blocks, part.count)
    }
}
