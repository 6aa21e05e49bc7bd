internal import CPNG

/// PNG by libpng's simplified interface; transparency is laid on white.
enum PNGDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer) throws(DatasetError) -> DecodedImage {
        var image = png_image()
        image.version = pfc_png_version
        defer { png_image_free(&image) }
        guard png_image_begin_read_from_memory(&image, bytes.baseAddress, bytes.count) != 0 else {
            throw failure(image)
        }
        let color = image.format & pfc_png_flag_color != 0
        let shape = try ImageDecoder.checkedShape(
            channels: color ? 3 : 1, height: Int(image.height), width: Int(image.width), format: "PNG")
        image.format = color ? pfc_png_rgb : pfc_png_gray
        var pixels = [UInt8](repeating: 0, count: shape.count)
        var background = png_color(red: 255, green: 255, blue: 255)
        guard png_image_finish_read(&image, &background, &pixels, 0, nil) != 0, pfc_png_failed(&image) == 0 else {
            throw failure(image)
        }
        return DecodedImage(shape: shape, pixels: pixels)
    }

    private static func failure(_ image: png_image) -> DatasetError {
        let message = withUnsafeBytes(of: image.message) { raw in
            String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
        return DatasetError(.corruptImage, "PNG is damaged or truncated: \(message)")
    }
}
