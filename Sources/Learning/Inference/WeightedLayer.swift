public import Model

/// A convolution or a linear layer, which is a convolution as large as its image.
public struct WeightedLayer: Sendable, Hashable {
    /// [outputs, taps, channels]; depthwise [taps, groupWidth, channels]. A tap is a place of the kernel, row by row.
    public var weights: [Float]
    /// [outputs].
    public var bias: [Float]
    /// Whether output channel c reads channel c alone, or the few channels of its group.
    public let isDepthwise: Bool
    /// Channels of a group of a depthwise layer, one of `groupWidths`: output channel c reads the channels from c − c % groupWidth on.
    public let groupWidth: Int
    public let window: Window
    public let input: Extents
    public let output: Extents

    public init(
        weights: [Float], bias: [Float], isDepthwise: Bool, groupWidth: Int = 1, window: Window, input: Extents,
        output: Extents
    ) {
        self.weights = weights
        self.bias = bias
        self.isDepthwise = isDepthwise
        self.groupWidth = groupWidth
        self.window = window
        self.input = input
        self.output = output
    }

    /// The places that a kernel reads.
    public struct Window: Sendable, Hashable, Codable {
        public var kernel: Graph.Extent
        public var strides: Graph.Extent
        public var padding: Graph.Padding
        public var dilation: Graph.Extent

        public init(
            kernel: Graph.Extent, strides: Graph.Extent = .init(1), padding: Graph.Padding = .zero,
            dilation: Graph.Extent = .init(1)
        ) {
            self.kernel = kernel
            self.strides = strides
            self.padding = padding
            self.dilation = dilation
        }
    }

    public var taps: Int { window.kernel.height * window.kernel.width }
    /// Products that a result is the sum of.
    public var depth: Int { taps * (isDepthwise ? groupWidth : input.channels) }
    /// Groups of channels that are computed apart.
    public var groups: Int { isDepthwise ? input.channels / groupWidth : 1 }
    /// The groups for which there are kernels; wider ones are computed with zeros between them.
    public static let groupWidths = [1, 2, 4, 8]
    /// The output channel that the weight at a place is of.
    public func output(ofWeight index: Int) -> Int { isDepthwise ? index % output.channels : index / depth }

    /// Whether a result reads the pixel at its own place and no other.
    public var isPointwise: Bool {
        taps == 1 && window.strides == .init(1) && window.padding == .zero && input.pixels == output.pixels
    }

    /// Where each tap of each pixel of the result lies in an image whose pixels are `pixelStride` elements apart, [pixels, taps];
    /// −1 in the padding.
    public func offsets(pixelStride: Int) -> [Int32] {
        var result: [Int32] = []
        result.reserveCapacity(output.pixels * taps)
        for y in 0..<output.height {
            for x in 0..<output.width {
                for ky in 0..<window.kernel.height {
                    for kx in 0..<window.kernel.width {
                        let row = y * window.strides.height + ky * window.dilation.height - window.padding.top
                        let column = x * window.strides.width + kx * window.dilation.width - window.padding.left
                        let isInside = (0..<input.height).contains(row) && (0..<input.width).contains(column)
                        result.append(isInside ? Int32((row * input.width + column) * pixelStride) : -1)
                    }
                }
            }
        }
        return result
    }
}
