/// How 8-bit pixels become what a network is given: (x − mean) / scale, in the order of channels that it was trained with.
public struct Preprocessing: Sendable, Hashable, Codable, CustomStringConvertible {
    public var mean: Float
    public var scale: Float
    /// Blue first, as OpenCV reads images. Has no meaning for gray.
    public var isBGR: Bool

    /// (x − 127.5) / 127.5 in the order red, green, blue: what InsightFace trains with, and what is trained here.
    public init(mean: Float = 127.5, scale: Float = 127.5, isBGR: Bool = false) {
        self.mean = mean
        self.scale = scale
        self.isBGR = isBGR
    }

    /// Reads `MEAN,SCALE[,RGB|BGR]`, such as `127.5,128,BGR`; nil if the text is not of that form.
    public init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), let mean = Float(parts[0]), let scale = Float(parts[1]), mean.isFinite,
            scale.isFinite, scale > 0, ((abs(mean) + 255) / scale).isFinite
        else { return nil }
        let order = parts.count == 3 ? parts[2].lowercased() : "rgb"
        guard order == "rgb" || order == "bgr" else { return nil }
        self.init(mean: mean, scale: scale, isBGR: order == "bgr")
    }

    public var description: String { "(x − \(mean)) / \(scale), \(isBGR ? "BGR" : "RGB")" }

    /// Writes an interleaved 8-bit image of `shape` to `target` (`shape.count` floats), as height × width × channels.
    public func apply(
        _ pixels: UnsafeBufferPointer<UInt8>, shape: ImageShape, into target: UnsafeMutableBufferPointer<Float>
    ) {
        if self == Preprocessing() {
            // What training gives its network, to the bit.
            return ImageTensor.normalize(pixels, shape: shape, layout: .nhwc, into: target)
        }
        let swaps = isBGR && shape.channels == 3
        for index in 0..<shape.count {
            let from = swaps ? index / 3 * 3 + 2 - index % 3 : index
            target[index] = (Float(pixels[from]) - mean) / scale
        }
    }
}
