internal import CKernels
public import Tensors

/// The order of the axes of an image batch.
public enum ImageLayout: String, Sendable, Hashable, Codable, CaseIterable {
    /// [n, channels, height, width]
    case nchw
    /// [n, height, width, channels]
    case nhwc

    /// The shape of a batch of `count` images of `shape`.
    public func batchShape(_ count: Int, _ shape: ImageShape) -> [Int] {
        switch self {
        case .nchw: [count, shape.channels, shape.height, shape.width]
        case .nhwc: [count, shape.height, shape.width, shape.channels]
        }
    }
}

/// 8-bit pixels to network input, and mirror images of it.
public enum ImageTensor {
    /// Writes (x/255 − 0.5)/0.5 of an interleaved 8-bit image, changed by `choice`, to `target` (`shape.count` floats).
    public static func normalize(
        _ pixels: UnsafeBufferPointer<UInt8>, shape: ImageShape, choice: Augmentation.Choice = .init(),
        layout: ImageLayout,
        into target: UnsafeMutableBufferPointer<Float>
    ) {
        precondition(pixels.count >= shape.count && target.count >= shape.count, "buffers too small for \(shape)")
        guard let source = pixels.baseAddress, let out = target.baseAddress else { return }
        pfc_image_normalize(
            source, Int32(shape.height), Int32(shape.width), Int32(shape.channels), choice.flip ? 1 : 0,
            Int32(choice.shiftY), Int32(choice.shiftX), layout == .nchw ? 1 : 0, out)
    }

    /// The mirror images (left to right) of a batch of images of type f32 in `layout`.
    public static func flipped(_ images: Tensor, layout: ImageLayout) -> Tensor {
        precondition(
            images.shape.count == 4 && images.dtype == .f32, "\(images.dtype) \(images.shape) is not an image batch")
        let result = Tensor(uninitialized: Float.self, shape: images.shape)
        guard let source = images.buffer(Float.self).baseAddress, let target = result.mutable(Float.self).baseAddress
        else { return result }
        let shape = images.shape
        switch layout {
        case .nchw: pfc_image_flip_rows(source, target, shape[0] * shape[1] * shape[2], shape[3], 1)
        case .nhwc: pfc_image_flip_rows(source, target, shape[0] * shape[1], shape[2], shape[3])
        }
        return result
    }
}
