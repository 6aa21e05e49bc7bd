internal import CKernels
internal import COneDNN
internal import Model

/// A convolution or a linear layer: forward, gradient of the input, gradient of the weights.
///
/// Activations are NHWC. Weights lie OIHW in the flat vector and are packed once per version into the layouts that the
/// implementations chose. In bf16, operands are rounded on their way into oneDNN; what it gives is f32.
final class WeightedOperator: TrainingKernel {
    /// Where the weights lie in the flat vector.
    let weights: Range<Int>
    /// Where the bias lies, if there is one.
    let bias: Range<Int>?
    /// Whether the weights, and the bias, are trained.
    let trains: (weights: Bool, bias: Bool)
    private let forwardPrimitive: Primitive
    private let inputPrimitive: Primitive?
    private let weightsPrimitive: Primitive
    private let packForward: Primitive
    private let packBackward: Primitive?
    /// nil if oneDNN's layout is OIHW itself.
    private let unpack: Primitive?
    /// Numbers of the input and of the output, if operands are bf16; nil in single precision.
    private let halves: (input: Int, output: Int)?

    /// Floats of the weights packed for the forward pass and for the gradient of the input.
    let packedForwardCount: Int
    let packedBackwardCount: Int
    /// Floats of the weights' gradient in oneDNN's layout; 0 if it is written in place.
    let packedGradientCount: Int

    /// Where a layer's weights and bias lie, and whether they are trained.
    struct Parameters {
        let weights: Range<Int>
        let bias: Range<Int>?
        let trains: (weights: Bool, bias: Bool)
    }

    /// A convolution from [inputs, height, width] to `output`. `needsInputGradient` is false where nothing before it is trained.
    static func convolution(
        _ convolution: Graph.Convolution, batch: Int, input: [Int], output: [Int], kernel: Graph.Extent,
        parameters: Parameters, needsInputGradient: Bool, compute: BackboneCompute
    ) throws(BackboneError) -> WeightedOperator {
        let (inputs, height, width) = (input[0], input[1], input[2])
        let (outputs, outputHeight, outputWidth) = (output[0], output[1], output[2])
        let groups = convolution.groups
        let isHalf = compute == .bf16 && groups == 1
        let operand = isHalf ? dnnl_bf16 : dnnl_f32
        let (sourceShape, targetShape) = (
            [batch, inputs, height, width], [batch, outputs, outputHeight, outputWidth]
        )
        var source = try OneDNN.memory(sourceShape, dnnl_nhwc, operand)
        var sourceGradient = try OneDNN.memory(sourceShape, dnnl_nhwc)
        var target = try OneDNN.memory(targetShape, dnnl_nhwc)
        var targetGradient = try OneDNN.memory(targetShape, dnnl_nhwc, operand)
        let ungrouped = [outputs, inputs, kernel.height, kernel.width]
        let shape =
            groups == 1 ? ungrouped : [groups, outputs / groups, inputs / groups, kernel.height, kernel.width]
        var packed = try OneDNN.memory(shape, dnnl_format_tag_any, operand)
        var packedGradient = try OneDNN.memory(shape, dnnl_format_tag_any)
        var offsets = try OneDNN.memory([outputs], dnnl_x)
        let (s, d, p) = (convolution.strides, convolution.dilation, convolution.padding)
        let strides = [dnnl_dim_t(s.height), dnnl_dim_t(s.width)]
        let dilation = [dnnl_dim_t(d.height - 1), dnnl_dim_t(d.width - 1)]
        let padding = [dnnl_dim_t(p.top), dnnl_dim_t(p.left)]
        // Where a stride does not divide the extent, the last window ends before the padding does.
        let right = [
            dnnl_dim_t((outputHeight - 1) * s.height + (kernel.height - 1) * d.height + 1 - height - p.top),
            dnnl_dim_t((outputWidth - 1) * s.width + (kernel.width - 1) * d.width + 1 - width - p.left),
        ]
        let what = "a \(kernel.height)×\(kernel.width) convolution \(inputs)→\(outputs) at \(height)×\(width)"
        let hasBias = parameters.bias != nil
        var operation = dnnl_convolution_desc_t()
        try withUnsafeMutablePointer(to: &offsets) { offsets throws(BackboneError) in
            try OneDNN.check(
                dnnl_dilated_convolution_forward_desc_init(
                    &operation, dnnl_forward_training, dnnl_convolution_direct, &source, &packed,
                    hasBias ? offsets : nil, &target, strides, dilation, padding, right), "describe \(what)")
        }
        let forward = try PrimitiveDescriptor(&operation, hint: nil, what)
        var input: PrimitiveDescriptor?
        if needsInputGradient {
            try OneDNN.check(
                dnnl_dilated_convolution_backward_data_desc_init(
                    &operation, dnnl_convolution_direct, &sourceGradient, &packed, &targetGradient, strides, dilation,
                    padding, right),
                "describe \(what)")
            input = try PrimitiveDescriptor(&operation, hint: forward, "the input gradient of \(what)")
        }
        try withUnsafeMutablePointer(to: &offsets) { offsets throws(BackboneError) in
            try OneDNN.check(
                dnnl_dilated_convolution_backward_weights_desc_init(
                    &operation, dnnl_convolution_direct, &source, &packedGradient, hasBias ? offsets : nil,
                    &targetGradient, strides, dilation, padding, right),
                "describe \(what)")
        }
        let gradient = try PrimitiveDescriptor(&operation, hint: forward, "the weight gradient of \(what)")
        let halves = isHalf ? (input: sourceShape.reduce(1, *), output: targetShape.reduce(1, *)) : nil
        return try WeightedOperator(forward, input, gradient, parameters, shape: shape, halves: halves)
    }

    /// A linear layer over vectors, or over images [inputs, height, width] in NHWC whose weights are in the order of the flattened
    /// NCHW tensor.
    static func linear(
        batch: Int, inputs: Int, height: Int = 1, width: Int = 1, outputs: Int, parameters: Parameters,
        needsInputGradient: Bool, compute: BackboneCompute
    ) throws(BackboneError) -> WeightedOperator {
        let operand = compute == .bf16 ? dnnl_bf16 : dnnl_f32
        var source = try OneDNN.memory([batch, inputs, height, width], dnnl_nhwc, operand)
        var sourceGradient = try OneDNN.memory([batch, inputs, height, width], dnnl_nhwc)
        var target = try OneDNN.memory([batch, outputs], dnnl_nc)
        var targetGradient = try OneDNN.memory([batch, outputs], dnnl_nc, operand)
        var offsets = try OneDNN.memory([outputs], dnnl_x)
        let hasBias = parameters.bias != nil
        let shape = [outputs, inputs, height, width]
        var packed = try OneDNN.memory(shape, dnnl_format_tag_any, operand)
        var packedGradient = try OneDNN.memory(shape, dnnl_format_tag_any)
        let what = "a linear layer \(inputs * height * width)→\(outputs)"
        var operation = dnnl_inner_product_desc_t()
        try withUnsafeMutablePointer(to: &offsets) { offsets throws(BackboneError) in
            try OneDNN.check(
                dnnl_inner_product_forward_desc_init(
                    &operation, dnnl_forward_training, &source, &packed, hasBias ? offsets : nil, &target),
                "describe \(what)")
        }
        let forward = try PrimitiveDescriptor(&operation, hint: nil, what)
        var input: PrimitiveDescriptor?
        if needsInputGradient {
            try OneDNN.check(
                dnnl_inner_product_backward_data_desc_init(&operation, &sourceGradient, &packed, &targetGradient),
                "describe \(what)")
            input = try PrimitiveDescriptor(&operation, hint: forward, "the input gradient of \(what)")
        }
        try withUnsafeMutablePointer(to: &offsets) { offsets throws(BackboneError) in
            try OneDNN.check(
                dnnl_inner_product_backward_weights_desc_init(
                    &operation, &source, &packedGradient, hasBias ? offsets : nil, &targetGradient),
                "describe \(what)")
        }
        let gradient = try PrimitiveDescriptor(&operation, hint: forward, "the weight gradient of \(what)")
        let halves = compute == .bf16 ? (input: batch * inputs * height * width, output: batch * outputs) : nil
        return try WeightedOperator(forward, input, gradient, parameters, shape: shape, halves: halves)
    }

    private init(
        _ forward: PrimitiveDescriptor, _ input: PrimitiveDescriptor?, _ gradient: PrimitiveDescriptor,
        _ parameters: Parameters, shape: [Int], halves: (input: Int, output: Int)?
    ) throws(BackboneError) {
        self.halves = halves
        weights = parameters.weights
        bias = parameters.bias
        trains = parameters.trains
        let plain = try OneDNN.memory(shape, shape.count == 5 ? dnnl_goihw : dnnl_oihw)
        let chosen = (try forward.layout(dnnl_query_weights_md), try gradient.layout(dnnl_query_diff_weights_md))
        var forwardLayouts = [
            DNNL_ARG_SRC: try forward.layout(dnnl_query_src_md), DNNL_ARG_WEIGHTS: chosen.0,
            DNNL_ARG_DST: try forward.layout(dnnl_query_dst_md),
        ]
        var gradientLayouts = [
            DNNL_ARG_SRC: try gradient.layout(dnnl_query_src_md), DNNL_ARG_DIFF_WEIGHTS: chosen.1,
            DNNL_ARG_DIFF_DST: try gradient.layout(dnnl_query_diff_dst_md),
        ]
        if bias != nil {
            forwardLayouts[DNNL_ARG_BIAS] = try forward.layout(dnnl_query_weights_md, 1)
            gradientLayouts[DNNL_ARG_DIFF_BIAS] = try gradient.layout(dnnl_query_diff_weights_md, 1)
        }
        forwardPrimitive = try Primitive(forward, forwardLayouts)
        weightsPrimitive = try Primitive(gradient, gradientLayouts)
        packForward = try Primitive.reorder(from: plain, to: chosen.0)
        packedForwardCount = (forwardPrimitive.bytes(of: DNNL_ARG_WEIGHTS) + 3) / 4
        if let input {
            let packed = try input.layout(dnnl_query_weights_md)
            let primitive = try Primitive(
                input,
                [
                    DNNL_ARG_DIFF_DST: input.layout(dnnl_query_diff_dst_md), DNNL_ARG_WEIGHTS: packed,
                    DNNL_ARG_DIFF_SRC: input.layout(dnnl_query_diff_src_md),
                ])
            inputPrimitive = primitive
            packBackward = try Primitive.reorder(from: plain, to: packed)
            packedBackwardCount = (primitive.bytes(of: DNNL_ARG_WEIGHTS) + 3) / 4
        } else {
            inputPrimitive = nil
            packBackward = nil
            packedBackwardCount = 0
        }
        if weightsPrimitive.layout(of: DNNL_ARG_DIFF_WEIGHTS, equals: plain) {
            unpack = nil
            packedGradientCount = 0
        } else {
            unpack = try Primitive.reorder(from: chosen.1, to: plain)
            packedGradientCount = weightsPrimitive.bytes(of: DNNL_ARG_DIFF_WEIGHTS) / 4
        }
    }

    /// Packs the weights of the flat vector.
    func pack(
        _ flat: Floats, forward: Floats, backward: Floats,
        on thread: KernelThread
    ) throws(BackboneError) {
        let source = UnsafeMutableRawPointer(flat + weights.lowerBound)
        try packForward.run(on: thread, [DNNL_ARG_SRC: source, DNNL_ARG_DST: UnsafeMutableRawPointer(forward)])
        try packBackward?.run(on: thread, [DNNL_ARG_SRC: source, DNNL_ARG_DST: UnsafeMutableRawPointer(backward)])
    }

    var trainsParameters: Bool { trains.weights || trains.bias }
    var weighted: WeightedOperator? { self }
    /// In bf16 the input that the backward pass needs is kept rounded.
    func readsAgain(input index: Int) -> Bool { halves == nil && trainsParameters }
    var stateCount: Int { halves.map { ($0.input + 1) / 2 } ?? 0 }
    /// Floats that hold a gradient of the output in bf16.
    var halfGradientCount: Int { halves.map { ($0.output + 1) / 2 } ?? 0 }

    /// Rounds numbers to nearest bf16 ones.
    private func rounded(_ numbers: Floats, _ count: Int, to target: Floats) -> UnsafeMutableRawPointer {
        let raw = UnsafeMutableRawPointer(target)
        pfc_head_encode_bf16(numbers, count, raw.assumingMemoryBound(to: UInt16.self))
        return raw
    }

    /// output = weights · input (+ bias).
    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) throws(BackboneError) {
        let x = halves.map { rounded(inputs[0], $0.input, to: pass.state) } ?? UnsafeMutableRawPointer(inputs[0])
        let y = UnsafeMutableRawPointer(output)
        let w = UnsafeMutableRawPointer(pass.parameters.forward(self))
        if let bias {
            let b = UnsafeMutableRawPointer(pass.flat + bias.lowerBound)
            try forwardPrimitive.run(
                on: pass.thread, [DNNL_ARG_SRC: x, DNNL_ARG_WEIGHTS: w, DNNL_ARG_BIAS: b, DNNL_ARG_DST: y])
        } else {
            try forwardPrimitive.run(on: pass.thread, [DNNL_ARG_SRC: x, DNNL_ARG_WEIGHTS: w, DNNL_ARG_DST: y])
        }
    }

    func backward(
        _ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients
    ) throws(BackboneError) {
        let dy =
            halves.map { rounded(gradients.output, $0.output, to: pass.thread.halves.pointer) }
            ?? UnsafeMutableRawPointer(gradients.output)
        if trainsParameters, let x = halves == nil ? values.inputs[0] : pass.state {
            try backwardWeights(UnsafeMutableRawPointer(x), dy, gradients.parameters, on: pass.thread)
        }
        if let inputPrimitive, let dx = gradients.inputs[0] {
            try inputPrimitive.run(
                on: pass.thread,
                [
                    DNNL_ARG_DIFF_DST: dy, DNNL_ARG_WEIGHTS: UnsafeMutableRawPointer(pass.parameters.backward(self)),
                    DNNL_ARG_DIFF_SRC: UnsafeMutableRawPointer(dx),
                ])
        }
    }

    /// ∂loss/∂weights (and bias) into the flat gradient.
    private func backwardWeights(
        _ x: UnsafeMutableRawPointer, _ dy: UnsafeMutableRawPointer, _ gradient: Floats, on thread: KernelThread
    ) throws(BackboneError) {
        let flat = UnsafeMutableRawPointer(gradient + weights.lowerBound)
        let packed = unpack == nil ? flat : UnsafeMutableRawPointer(thread.packedGradient.pointer)
        if let bias {
            try weightsPrimitive.run(
                on: thread,
                [
                    DNNL_ARG_SRC: x, DNNL_ARG_DIFF_DST: dy, DNNL_ARG_DIFF_WEIGHTS: packed,
                    DNNL_ARG_DIFF_BIAS: UnsafeMutableRawPointer(gradient + bias.lowerBound),
                ])
        } else {
            try weightsPrimitive.run(
                on: thread, [DNNL_ARG_SRC: x, DNNL_ARG_DIFF_DST: dy, DNNL_ARG_DIFF_WEIGHTS: packed])
        }
        try unpack?.run(on: thread, [DNNL_ARG_SRC: packed, DNNL_ARG_DST: flat])
        // oneDNN gives both at once: what is not trained gets no gradient.
        if !trains.weights { (gradient + weights.lowerBound).update(repeating: 0, count: weights.count) }
        if let bias, !trains.bias { (gradient + bias.lowerBound).update(repeating: 0, count: bias.count) }
    }
}
