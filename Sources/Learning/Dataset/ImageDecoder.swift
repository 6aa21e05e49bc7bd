internal import CKernels

/// Pixels as a file has them: 8 bits, channels interleaved.
struct DecodedImage {
    var shape: ImageShape
    var pixels: [UInt8]
}

/// Decodes JPEG, PNG, WebP, BMP, PGM and PPM, told apart by their first bytes, to the pixels that Pillow and OpenCV read.
///
/// Colour profiles, gamma and the orientation of EXIF are not applied; alpha is dropped.
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
        var image: DecodedImage = try decode(bytes, channels: shape.channels as Int?)
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

    /// Decodes `bytes` at the file's own size, to `channels`.
    ///
    /// - Throws: `DatasetError` (`corruptImage`) as `decode`.
    static func decode(_ bytes: UnsafeRawBufferPointer, channels: Int) throws(DatasetError) -> RawImage {
        var image: DecodedImage = try decode(bytes, channels: channels as Int?)
        if image.shape.channels != channels { image = converted(image, channels: channels) }
        return RawImage(shape: image.shape, pixels: image.pixels)
    }

    /// Decodes to the file's own size, and to `channels` where the decoder can do that itself.
    private static func decode(_ bytes: UnsafeRawBufferPointer, channels: Int?) throws(DatasetError) -> DecodedImage {
        switch PictureFormat(bytes.prefix(PictureFormat.headByteCount)) {
        case .jpeg: return try JPEGDecoder.decode(bytes, channels: channels)
        case .png: return try PNGDecoder.decode(bytes)
        case .webp: return try WebPDecoder.decode(bytes)
        case .bmp: return try BMPDecoder.decode(bytes)
        case .portableMap: return try PortableMapDecoder.decode(bytes)
        case .unread(let name):
            throw DatasetError(.unreadFormat, "is a picture of kind \(name), which is not read; \(formats) are")
        case nil:
            let start = bytes.prefix(4).map { "0x" + String($0, radix: 16) }.joined(separator: " ")
            throw DatasetError(
                .corruptImage,
                "\(bytes.count) bytes that start with [\(start)] are not a picture; \(formats) are read")
        }
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
    /// The endings of image files, lower case. A file of another name is an image if its first bytes say so.
    public static let extensions: Set<String> = [
        "jpg", "jpeg", "jpe", "jfif", "jif", "png", "webp", "bmp", "dib", "pgm", "ppm", "pnm",
    ]
    /// What is read, for messages.
    static let formats = "JPEG, PNG, WebP, BMP, PGM (P5) and PPM (P6)"
    /// The largest image file that is read.
    public static let maximumFileByteCount = 256 << 20

    /// Decodes the image file at `path`, as `decode(_:shape:into:)`.
    ///
    /// - Parameter index: the sample's index, for the error.
    /// - Throws: `DatasetError` with path and index if the file cannot be read or decoded.
    public static func decode(
        file path: String, index: Int, shape: ImageShape, into pixels: UnsafeMutableBufferPointer<UInt8>
    ) throws(DatasetError) {
        try decode(file: RawPath(path), index: index, shape: shape, into: pixels)
    }

    static func decode(
        file path: RawPath, index: Int, shape: ImageShape, into pixels: UnsafeMutableBufferPointer<UInt8>
    ) throws(DatasetError) {
        do throws(DatasetError) {
            try contents(of: path).withBytes { raw throws(DatasetError) in try decode(raw, shape: shape, into: pixels) }
        } catch { throw error.at(index, path: path.description) }
    }

    /// The bytes of an image file of at most `maximumFileByteCount`.
    static func contents(of path: RawPath) throws(DatasetError) -> [UInt8] {
        let file = try RecordFile(path: path)
        guard file.byteCount <= maximumFileByteCount else {
            throw DatasetError(
                .corruptImage, path: path.description,
                "is \(file.byteCount) bytes long; at most \(maximumFileByteCount) are read")
        }
        return try file.bytes(at: 0, count: file.byteCount)
    }
}
