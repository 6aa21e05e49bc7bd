internal import CTurboJPEG

/// JPEG by libjpeg-turbo, with its exact integer transform so that every CPU gives the same pixels.
enum JPEGDecoder {
    /// Decodes to `channels`, or to the file's own number.
    static func decode(_ bytes: UnsafeRawBufferPointer, channels: Int?) throws(DatasetError) -> DecodedImage {
        guard let handle = tjInitDecompress() else {
            throw DatasetError(.unreadableFile, "libjpeg-turbo has no memory")
        }
        defer { tjDestroy(handle) }
        let source = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
        var width: Int32 = 0
        var height: Int32 = 0
        var subsampling: Int32 = 0
        var colorspace: Int32 = 0
        guard
            tjDecompressHeader3(handle, source, UInt(bytes.count), &width, &height, &subsampling, &colorspace) == 0
                || isHarmless(handle)
        else { throw failure(handle) }
        let gray = channels.map { $0 == 1 } ?? (colorspace == Int32(TJCS_GRAY.rawValue))
        let shape = try ImageDecoder.checkedShape(
            channels: gray ? 1 : 3, height: Int(height), width: Int(width), format: "JPEG")
        var pixels = [UInt8](repeating: 0, count: shape.count)
        let format = Int32(gray ? TJPF_GRAY.rawValue : TJPF_RGB.rawValue)
        let status = tjDecompress2(
            handle, source, UInt(bytes.count), &pixels, width, 0, height, format, TJFLAG_ACCURATEDCT)
        guard status == 0 || isHarmless(handle) else { throw failure(handle) }
        return DecodedImage(shape: shape, pixels: pixels)
    }

    /// Whether the last problem was a warning that leaves every pixel as it was stored.
    private static func isHarmless(_ handle: tjhandle) -> Bool {
        tjGetErrorCode(handle) == Int32(TJERR_WARNING.rawValue)
            && message(handle).contains("extraneous bytes before marker")
    }

    private static func message(_ handle: tjhandle) -> String {
        tjGetErrorStr2(handle).map { String(cString: $0) } ?? "unknown error"
    }

    private static func failure(_ handle: tjhandle) -> DatasetError {
        DatasetError(.corruptImage, "JPEG is damaged or truncated: \(message(handle))")
    }
}
