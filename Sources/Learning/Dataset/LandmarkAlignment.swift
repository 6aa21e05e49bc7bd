internal import Foundation

/// Brings a face to where networks expect it, by five landmarks: the eyes, the nose and the corners of the mouth.
public struct LandmarkAlignment: Sendable {
    /// Where the landmarks are in an aligned image of 112×112 pixels, x and y: those of ArcFace.
    public static let template: [Double] = [
        38.2946, 51.6963, 73.5318, 51.5014, 56.0252, 71.7366, 41.5493, 92.3655, 70.7299, 92.2041,
    ]
    /// Height and width of the image that the template is of.
    public static let extent = 112

    /// A similarity: (x, y) → (a·x − b·y + tx, b·x + a·y + ty).
    public struct Similarity: Sendable, Hashable {
        public var a: Double
        public var b: Double
        public var tx: Double
        public var ty: Double

        /// The similarity that brings `points` (x1, y1, x2, …) nearest to `targets`, in least squares (Umeyama 1991). Nil if all points are
        /// one, or what is nearest is of no size.
        ///
        /// In the plane the best rotation and scale are a complex number, so no singular values are needed. A mirror image is never used.
        public init?(points: [Double], targets: [Double]) {
            let count = points.count / 2
            guard count > 0, points.count == targets.count else { return nil }
            func mean(_ values: [Double], _ axis: Int) -> Double {
                (0..<count).reduce(0) { $0 + values[2 * $1 + axis] } / Double(count)
            }
            let (px, py, qx, qy) = (mean(points, 0), mean(points, 1), mean(targets, 0), mean(targets, 1))
            var (real, imaginary, spread) = (0.0, 0.0, 0.0)
            for i in 0..<count {
                let (x, y) = (points[2 * i] - px, points[2 * i + 1] - py)
                let (u, v) = (targets[2 * i] - qx, targets[2 * i + 1] - qy)
                real += x * u + y * v
                imaginary += x * v - y * u
                spread += x * x + y * y
            }
            guard spread > 1e-9 else { return nil }
            (a, b) = (real / spread, imaginary / spread)
            guard a.isFinite, b.isFinite, a * a + b * b > 1e-12 else { return nil }
            tx = qx - a * px + b * py
            ty = qy - b * px - a * py
        }
    }

    /// Warps an interleaved 8-bit image so that its landmarks come to the template: bilinear, 0 outside of it.
    ///
    /// Weights are exact. Those of OpenCV 4's `warpAffine` are rounded: some values differ, nearly all by 1.
    ///
    /// - Parameters:
    ///   - landmarks: x1, y1 … x5, y5 in pixels of the image.
    ///   - target: 112 × 112 × channels bytes.
    /// - Returns: false if the landmarks have no similarity to the template, as when they are all at one place.
    public static func align(
        _ image: RawImage, landmarks: [Double], into target: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        guard let map = Similarity(points: landmarks, targets: template) else { return false }
        let (height, width, channels) = (image.shape.height, image.shape.width, image.shape.channels)
        precondition(target.count >= extent * extent * channels, "no room for an aligned image")
        let square = map.a * map.a + map.b * map.b
        image.pixels.withUnsafeBufferPointer { pixels in
            for v in 0..<extent {
                for u in 0..<extent {
                    let (dx, dy) = (Double(u) - map.tx, Double(v) - map.ty)
                    let x = (map.a * dx + map.b * dy) / square
                    let y = (map.a * dy - map.b * dx) / square
                    let place = (v * extent + u) * channels
                    guard x > -1, y > -1, x < Double(width), y < Double(height) else {
                        for c in 0..<channels { target[place + c] = 0 }
                        continue
                    }
                    let (left, top) = (Int(x.rounded(.down)), Int(y.rounded(.down)))
                    let (fx, fy) = (x - Double(left), y - Double(top))
                    func pixel(_ row: Int, _ column: Int, _ c: Int) -> Double {
                        guard row >= 0, row < height, column >= 0, column < width else { return 0 }
                        return Double(pixels[(row * width + column) * channels + c])
                    }
                    for c in 0..<channels {
                        let upper = pixel(top, left, c) * (1 - fx) + pixel(top, left + 1, c) * fx
                        let lower = pixel(top + 1, left, c) * (1 - fx) + pixel(top + 1, left + 1, c) * fx
                        target[place + c] = UInt8((upper * (1 - fy) + lower * fy).rounded().clamped())
                    }
                }
            }
        }
        return true
    }
}

extension Double {
    fileprivate func clamped() -> Double { Swift.min(255, Swift.max(0, self)) }
}

/// An image as its file has it: 8 bits, channels interleaved.
public struct RawImage: Sendable {
    public var shape: ImageShape
    public var pixels: [UInt8]

    public init(shape: ImageShape, pixels: [UInt8]) {
        precondition(pixels.count == shape.count, "\(pixels.count) bytes are not \(shape)")
        self.shape = shape
        self.pixels = pixels
    }

    /// Decodes the image file at `path` at its own size, to 1 or 3 channels.
    ///
    /// - Throws: `DatasetError` with the path if it cannot be read or decoded.
    public init(path: String, channels: Int) throws(DatasetError) {
        do throws(DatasetError) {
            let bytes = try ImageDecoder.contents(of: RawPath(path))
            self = try bytes.withBytes { raw throws(DatasetError) in try ImageDecoder.decode(raw, channels: channels) }
        } catch {
            var located = error
            located.path = path
            throw located
        }
    }
}
