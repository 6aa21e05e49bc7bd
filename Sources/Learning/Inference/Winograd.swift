internal import CInference
internal import Model

/// A 3×3 convolution of stride 1 by Winograd's F(4, 3) in integers: the sums of the direct kernel, with a quarter of its products.
struct Winograd: Sendable {
    private let packed: AlignedMemory
    private let picture: (height: Int, width: Int, channels: Int, outputs: Int)
    private let kernels: InferenceKernels
    /// Bytes that a call needs for itself.
    let scratchBytes: Int

    /// Tiles of an image.
    let tiles: Int

    /// - Parameter weights: [outputs, 9, channels].
    /// - Returns: nil where the layer is of another kind, or its weights so large that the sums would not be exact.
    init?(_ layer: WeightedLayer, weights: [Int8], channels: Int, bits: Int, kernels: InferenceKernels) {
        let window = layer.window
        guard !layer.isDepthwise, window.kernel == .init(3), window.strides == .init(1), window.padding == .init(1),
            window.dilation == .init(1)
        else { return nil }
        let bytes = pfi_packed_bytes_winograd_s8(kernels.isa, channels, layer.output.channels)
        guard bytes > 0 else { return nil }
        packed = AlignedMemory(byteCount: bytes)
        guard
            pfi_pack_winograd_s8(
                kernels.isa, Int32(bits), weights, channels, layer.output.channels, packed.pointer) != 0
        else { return nil }
        self.kernels = kernels
        picture = (layer.input.height, layer.input.width, channels, layer.output.channels)
        scratchBytes = pfi_winograd_scratch_bytes(kernels.isa, channels)
        var one = Self.description(picture, images: 1)
        tiles = pfi_winograd_tiles(&one)
    }

    private static func description(
        _ p: (height: Int, width: Int, channels: Int, outputs: Int), images: Int
    ) -> pfi_picture {
        pfi_picture(
            images: images, height: p.height, width: p.width, channels: p.channels, outputs: p.outputs,
            image_stride: p.height * p.width * p.channels, line_stride: p.width * p.channels, pixel_stride: p.channels)
    }

    /// Computes tiles (of all images, numbered one image after the other).
    func run(
        _ x: UnsafeRawPointer, images: Int, padding: AlignedMemory, correction: AlignedMemory?,
        _ epilogue: inout pfi_epilogue, scratch: UnsafeMutableRawPointer, _ range: Range<Int>
    ) {
        var all = Self.description(picture, images: images)
        pfi_winograd_u8s8(
            kernels.isa, &all, x.assumingMemoryBound(to: UInt8.self), padding.of(UInt8.self), packed.pointer,
            correction?.of(Int32.self), &epilogue, scratch, range.lowerBound, range.upperBound)
    }
}
