internal import CKernels

/// Pixels as a file has them: 8 bits, channels interleaved.
struct DecodedImage {
    var shape: ImageShape
    var pixels: [UInt8]
}

/// Decodes JPEG, PNG, PGM and PPM, told apart by their first bytes.
public enum ImageDecoder {
    /// The largest number of pixels that is decoded: a bound on what a damaged header can make us allocate.
    public static let maximumPixels = 64 << 20

    /// Decodes `bytes` to `shape`: gray from colour by luma, colour from gray by repetition, resized by area average where
    /// an axis shrinks and bilinearly where it grows.
    ///
    /// - Parameter pixels: receives `shape.count` bytes, height × width × channels.
    /// - Throws: `DatasetError` (`corruptImage`) if the bytes are not an image in one of these formats, or only part of one.
    public static func decode(
        _ bytes: UnsafeRawBufferPointer, shape: ImageShape, into pixels: UnsafeMutableBufferPointer<UInt8>
    ) throws(DatasetError) {
        precondition(pixels.count >= shape.count, "\(pixels.count) bytes cannot hold \(shape)")
        var image = try decode(bytes, channels: shape.channels)
        if image.shape.channels != shape.channels { image = converted(image, channels: shape.channels) }
        guard image.shape != shape else {
            _ = pixels.update(fromContentsOf: image.pixels)
            return
        }
        let status = image.pixels.withUnsafeBufferPointer { source -> Int32 in
            guard let from = source.baseAddress, let to = pixels.baseAddress else { return -1 }
            return pfc_image_resize(
                from, Int32(image.shape.height), Int32(image.shape.width), Int32(shape.channels), to,
                Int32(shape.height),
                Int32(shape.width))
        }
        if status != 0 {
            throw DatasetError(.unreadableFile, "out of memory while resizing \(image.shape) to \(shape)")
        }
    }

    /// The shape that the image in `bytes` has, by decoding it.
    ///
    /// - Throws: `DatasetError` (`corruptImage`) as `decode`.
    public static func shape(of bytes: UnsafeRawBufferPointer) throws(DatasetError) -> ImageShape {
        try decode(bytes, channels: nil).shape
    }

    /// Decodes to the file's own size, and to `channels` where the decoder can do that itself.
    private static func decode(_ bytes: UnsafeRawBufferPointer, channels: Int?) throws(DatasetError) -> DecodedImage {
        if bytes.starts(with: [0xFF, 0xD8]) { return try JPEGDecoder.decode(bytes, channels: channels) }
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]) { return try PNGDecoder.decode(bytes) }
        if bytes.starts(with: [0x50, 0x35]) || bytes.starts(with: [0x50, 0x36]) {
            return try PortableMapDecoder.decode(bytes)
        }
        let start = bytes.prefix(4).map { "0x" + String($0, radix: 16) }.joined(separator: " ")
        throw DatasetError(
            .corruptImage,
            "\(bytes.count) bytes that start with [\(start)] are not a JPEG, PNG, PGM (P5) or PPM (P6) image")
    }

    private static func converted(_ image: DecodedImage, channels: Int) -> DecodedImage {
        var shape = image.shape
        shape.channels = channels
        let count = shape.height * shape.width
        let pixels = [UInt8](unsafeUninitializedCapacity: shape.count) { target, filled in
            image.pixels.withUnsafeBufferPointer { source in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                if channels == 1 {
                    pfc_image_gray_from_rgb(from, to, count)
                } else {
                    pfc_image_rgb_from_gray(from, to, count)
                }
            }
            filled = shape.count
        }
        return DecodedImage(shape: shape, pixels: pixels)
    }

    /// Checks the size that a header claims, before anything of that size is allocated.
    static func checkedShape(channels: Int, height: Int, width: Int, format: String) throws(DatasetError) -> ImageShape
    {
        guard (1...ImageShape.maximumExtent).contains(height), (1...ImageShape.maximumExtent).contains(width),
            height * width <= maximumPixels
        else {
            throw DatasetError(
                .corruptImage,
                "\(format) claims \(width)×\(height) pixels; at most \(ImageShape.maximumExtent) a side are read")
        }
        return ImageShape(channels: channels, height: height, width: width)
    }
}

extension ImageDecoder {
    /// The endings of image files, lower case.
    public static let extensions: Set<String> = ["jpg", "jpeg", "png", "pgm", "ppm"]
    /// The largest image file that is read.
    public static let maximumFileByteCount = 256 << 20

    /// Decodes the image file at `path`, as `decode(_:shape:into:)`.
    ///
    /// - Parameter index: the sample's index, for the error.
    /// - Throws: `DatasetError` with path and index if the file cannot be read or decoded.
    public static func decode(
        file path: String, index: Int, shape: ImageShape, into pixels: UnsafeMutableBufferPointer<UInt8>
    ) throws(DatasetError) {
        do throws(DatasetError) {
            try contents(of: path).withBytes { raw throws(DatasetError) in try decode(raw, shape: shape, into: pixels) }
        } catch { throw error.at(index, path: path) }
    }

    /// The bytes of an image file of at most `maximumFileByteCount`.
    static func contents(of path: String) throws(DatasetError) -> [UInt8] {
        let file = try RecordFile(path: path)
        guard file.byteCount <= maximumFileByteCount else {
            throw DatasetError(
                .corruptImage, path: path, "is \(file.byteCount) bytes long; at most \(maximumFileByteCount) are read")
        }
        return try file.bytes(at: 0, count: file.byteCount)
    }
}
