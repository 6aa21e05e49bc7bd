internal import COneDNN
internal import Model

/// A convolution or a linear layer: forward, gradient of the input, gradient of the weights.
///
/// Activations are NHWC. Weights lie OIHW in the flat vector and are packed once per version into the layouts that the
/// implementations chose.
final class WeightedOperator: Sendable {
    /// Where the weights lie in the flat vector.
    let weights: Range<Int>
    /// Where the bias lies, if there is one.
    let bias: Range<Int>?
    let inputCount: Int
    let outputCount: Int
    private let forwardPrimitive: Primitive
    private let inputPrimitive: Primitive?
    private let weightsPrimitive: Primitive
    private let packForward: Primitive
    private let packBackward: Primitive?
    /// nil if oneDNN's layout is OIHW itself.
    private let unpack: Primitive?

    /// Floats of the weights packed for the forward pass and for the gradient of the input.
    let packedForwardCount: Int
    let packedBackwardCount: Int
    /// Floats of the weights' gradient in oneDNN's layout; 0 if it is written in place.
    let packedGradientCount: Int

    /// A convolution without bias, kernel k×k, padding k/2. `needsInputGradient` is false for the first layer.
    static func convolution(
        batch: Int, inputs: Int, outputs: Int, height: Int, width: Int, kernel: Int, stride: Int, weights: Range<Int>,
        needsInputGradient: Bool
    ) throws(BackboneError) -> WeightedOperator {
        var source = try OneDNN.memory([batch, inputs, height, width], dnnl_nhwc)
        let (outputHeight, outputWidth) = ((height + stride - 1) / stride, (width + stride - 1) / stride)
        var target = try OneDNN.memory([batch, outputs, outputHeight, outputWidth], dnnl_nhwc)
        let shape = [outputs, inputs, kernel, kernel]
        var packed = try OneDNN.memory(shape, dnnl_format_tag_any)
        let strides = [dnnl_dim_t(stride), dnnl_dim_t(stride)]
        let padding = [dnnl_dim_t(kernel / 2), dnnl_dim_t(kernel / 2)]
        // Even extents and stride 2: the last window ends one pixel earlier on the right.
        let right = [(outputHeight, height), (outputWidth, width)].map { output, input in
            dnnl_dim_t((output - 1) * stride + kernel - input - kernel / 2)
        }
        let what = "a \(kernel)×\(kernel) convolution \(inputs)→\(outputs) at \(height)×\(width)"
        var operation = dnnl_convolution_desc_t()
        try OneDNN.check(
            dnnl_convolution_forward_desc_init(
                &operation, dnnl_forward_training, dnnl_convolution_direct, &source, &packed, nil, &target, strides,
                padding, right), "describe \(what)")
        let forward = try PrimitiveDescriptor(&operation, hint: nil, what)
        var input: PrimitiveDescriptor?
        if needsInputGradient {
            try OneDNN.check(
                dnnl_convolution_backward_data_desc_init(
                    &operation, dnnl_convolution_direct, &source, &packed, &target, strides, padding, right),
                "describe \(what)")
            input = try PrimitiveDescriptor(&operation, hint: forward, "the input gradient of \(what)")
        }
        try OneDNN.check(
            dnnl_convolution_backward_weights_desc_init(
                &operation, dnnl_convolution_direct, &source, &packed, nil, &target, strides, padding, right),
            "describe \(what)")
        let gradient = try PrimitiveDescriptor(&operation, hint: forward, "the weight gradient of \(what)")
        return try WeightedOperator(
            forward, input, gradient, weights: weights, bias: nil, shape: shape,
            inputCount: batch * inputs * height * width,
            outputCount: batch * outputs * outputHeight * outputWidth)
    }

    /// A linear layer with bias over NHWC activations; its weights are in the order of the flattened NCHW tensor.
    static func linear(
        batch: Int, inputs: Int, height: Int, width: Int, outputs: Int, weights: Range<Int>, bias: Range<Int>
    ) throws(BackboneError) -> WeightedOperator {
        var source = try OneDNN.memory([batch, inputs, height, width], dnnl_nhwc)
        var target = try OneDNN.memory([batch, outputs], dnnl_nc)
        var offsets = try OneDNN.memory([outputs], dnnl_x)
        let shape = [outputs, inputs, height, width]
        var packed = try OneDNN.memory(shape, dnnl_format_tag_any)
        let what = "a linear layer \(inputs * height * width)→\(outputs)"
        var operation = dnnl_inner_product_desc_t()
        try OneDNN.check(
            dnnl_inner_product_forward_desc_init(
                &operation, dnnl_forward_training, &source, &packed, &offsets, &target),
            "describe \(what)")
        let forward = try PrimitiveDescriptor(&operation, hint: nil, what)
        try OneDNN.check(
            dnnl_inner_product_backward_data_desc_init(&operation, &source, &packed, &target), "describe \(what)")
        let input = try PrimitiveDescriptor(&operation, hint: forward, "the input gradient of \(what)")
        try OneDNN.check(
            dnnl_inner_product_backward_weights_desc_init(&operation, &source, &packed, &offsets, &target),
            "describe \(what)")
        let gradient = try PrimitiveDescriptor(&operation, hint: forward, "the weight gradient of \(what)")
        return try WeightedOperator(
            forward, input, gradient, weights: weights, bias: bias, shape: shape,
            inputCount: batch * inputs * height * width, outputCount: batch * outputs)
    }

    private init(
        _ forward: PrimitiveDescriptor, _ input: PrimitiveDescriptor?, _ gradient: PrimitiveDescriptor,
        weights: Range<Int>, bias: Range<Int>?, shape: [Int], inputCount: Int, outputCount: Int
    ) throws(BackboneError) {
        self.weights = weights
        self.bias = bias
        self.inputCount = inputCount
        self.outputCount = outputCount
        let plain = try OneDNN.memory(shape, dnnl_oihw)
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
        packedForwardCount = forwardPrimitive.bytes(of: DNNL_ARG_WEIGHTS) / 4
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
            packedBackwardCount = primitive.bytes(of: DNNL_ARG_WEIGHTS) / 4
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

    /// output = weights · input (+ bias).
    func forward(
        _ input: Floats, _ packed: Floats, _ flat: Floats,
        _ output: Floats, on thread: KernelThread
    ) throws(BackboneError) {
        let (x, w, y) = (
            UnsafeMutableRawPointer(input), UnsafeMutableRawPointer(packed), UnsafeMutableRawPointer(output)
        )
        if let bias {
            let b = UnsafeMutableRawPointer(flat + bias.lowerBound)
            try forwardPrimitive.run(
                on: thread, [DNNL_ARG_SRC: x, DNNL_ARG_WEIGHTS: w, DNNL_ARG_BIAS: b, DNNL_ARG_DST: y])
        } else {
            try forwardPrimitive.run(on: thread, [DNNL_ARG_SRC: x, DNNL_ARG_WEIGHTS: w, DNNL_ARG_DST: y])
        }
    }

    /// ∂loss/∂input from ∂loss/∂output. The first layer has none.
    func backwardInput(
        _ outputGradient: Floats, _ packed: Floats,
        _ inputGradient: Floats, on thread: KernelThread
    ) throws(BackboneError) {
        try inputPrimitive?.run(
            on: thread,
            [
                DNNL_ARG_DIFF_DST: UnsafeMutableRawPointer(outputGradient),
                DNNL_ARG_WEIGHTS: UnsafeMutableRawPointer(packed),
                DNNL_ARG_DIFF_SRC: UnsafeMutableRawPointer(inputGradient),
            ])
    }

    /// ∂loss/∂weights (and bias) into the flat gradient.
    func backwardWeights(
        _ input: Floats, _ outputGradient: Floats,
        _ gradient: Floats, on thread: KernelThread
    ) throws(BackboneError) {
        let (x, dy) = (UnsafeMutableRawPointer(input), UnsafeMutableRawPointer(outputGradient))
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
    }
}
