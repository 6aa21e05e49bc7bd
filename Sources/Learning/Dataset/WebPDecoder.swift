internal import CWebP

/// WebP by libwebp, lossy and lossless, as RGB; an alpha channel is dropped. Animations are not read.
enum WebPDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer) throws(DatasetError) -> DecodedImage {
        let source = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
        var features = WebPBitstreamFeatures()
        guard WebPGetFeatures(source, bytes.count, &features) == VP8_STATUS_OK else {
            throw DatasetError(.corruptImage, "WebP is damaged or truncated: its header cannot be read")
        }
        guard features.has_animation == 0 else {
            throw DatasetError(.corruptImage, "WebP is an animation, which is not an image of anyone")
        }
        let shape = try ImageDecoder.checkedShape(
            channels: 3, height: Int(features.height), width: Int(features.width), format: "WebP")
        var pixels = [UInt8](repeating: 0, count: shape.count)
        guard WebPDecodeRGBInto(source, bytes.count, &pixels, pixels.count, Int32(shape.width * 3)) != nil else {
            throw DatasetError(.corruptImage, "WebP is damaged or truncated")
        }
        return DecodedImage(shape: shape, pixels: pixels)
    }
}
