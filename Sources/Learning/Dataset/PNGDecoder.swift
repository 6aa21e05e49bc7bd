internal import CPictures

/// PNG by libpng: the stored samples, as Pillow and OpenCV give them.
///
/// Gamma and colour profiles are not applied, of 16 bits the upper 8 are taken, an alpha channel is dropped: what is
/// transparent has the colour that is stored there.
enum PNGDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer) throws(DatasetError) -> DecodedImage {
        var head = pfc_picture_head()
        let source = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
        guard let png = pfc_png_open(source, bytes.count, &head) else { throw failure(head) }
        defer { pfc_png_close(png) }
        let shape = try ImageDecoder.checkedShape(
            channels: Int(head.channels), height: Int(head.height), width: Int(head.width), format: "PNG")
        var pixels = [UInt8](repeating: 0, count: shape.count)
        guard pfc_png_read(png, &pixels, &head) == 0 else { throw failure(head) }
        return DecodedImage(shape: shape, pixels: pixels)
    }

    private static func failure(_ head: pfc_picture_head) -> DatasetError {
        DatasetError(.corruptImage, "PNG is damaged or truncated: \(head.text)")
    }
}
