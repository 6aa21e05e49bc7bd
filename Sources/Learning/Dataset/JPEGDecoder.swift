internal import CPictures

/// JPEG by libjpeg-turbo, with its exact integer transform so that every CPU gives the same pixels.
///
/// As Pillow and OpenCV: CMYK is taken as inverted, the colour profile is not applied, and neither is the orientation of
/// EXIF, which aligned crops do not have.
enum JPEGDecoder {
    /// The most scans of a progressive file; encoders write about 10.
    static let maximumScans = 500
    /// The most pixels times scans: a scan of a few bytes still goes over all pixels.
    static let maximumScannedPixels = 1 << 30

    /// Decodes to `channels`, or to the file's own number.
    static func decode(_ bytes: UnsafeRawBufferPointer, channels: Int?) throws(DatasetError) -> DecodedImage {
        var head = pfc_picture_head()
        let source = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
        guard
            let jpeg = pfc_jpeg_open(
                source, bytes.count, Int32(maximumScans), Int64(maximumScannedPixels), &head)
        else { throw failure(head) }
        defer { pfc_jpeg_close(jpeg) }
        let gray = head.reads_as_gray != 0 && (channels.map { $0 == 1 } ?? (head.channels == 1))
        let shape = try ImageDecoder.checkedShape(
            channels: gray ? 1 : 3, height: Int(head.height), width: Int(head.width), format: "JPEG")
        var pixels = [UInt8](repeating: 0, count: shape.count)
        guard pfc_jpeg_read(jpeg, Int32(shape.channels), &pixels, &head) == 0 else { throw failure(head) }
        return DecodedImage(shape: shape, pixels: pixels)
    }

    private static func failure(_ head: pfc_picture_head) -> DatasetError {
        DatasetError(.corruptImage, "JPEG is damaged or truncated: \(head.text)")
    }
}

extension pfc_picture_head {
    /// What was wrong.
    var text: String {
        withUnsafeBytes(of: message) { raw in String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
