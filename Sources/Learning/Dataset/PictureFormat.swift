/// What the first bytes of a file say that it is.
enum PictureFormat: Equatable {
    case jpeg, png, portableMap, webp, bmp
    /// A picture of a kind that is not read, by its name.
    case unread(String)

    /// Bytes that are needed to tell.
    static let headByteCount = 32

    /// Endings of pictures that are not read, for files whose first bytes say nothing.
    static let unreadExtensions: Set<String> = [
        "tif", "tiff", "gif", "heic", "heif", "avif", "jxl", "jp2", "j2k", "psd", "tga", "ico", "exr", "hdr", "dng",
        "cr2", "nef", "arw", "svg", "pbm", "npy",
    ]

    /// The format of a file that begins with `head`, or nil if that is no picture known here.
    init?(_ head: some Collection<UInt8>) {
        let head = Array(head.prefix(Self.headByteCount))
        func has(_ text: String, at offset: Int = 0) -> Bool {
            head.count >= offset + text.utf8.count && head.dropFirst(offset).starts(with: text.utf8)
        }
        func has(_ bytes: [UInt8]) -> Bool { head.starts(with: bytes) }
        func isSpace(_ index: Int) -> Bool {
            head.count > index && (head[index] == 0x20 || (0x09...0x0D).contains(head[index]))
        }
        if has([0xFF, 0xD8]) {
            self = .jpeg
        } else if has([0x89, 0x50, 0x4E, 0x47]) {
            self = .png
        } else if has("RIFF") && has("WEBP", at: 8) {
            self = .webp
        } else if has("BM"), head.count >= 18,
            BMPDecoder.headerLengths.contains(
                head[14..<18].reversed().reduce(0) { $0 << 8 | Int($1) })
        {
            self = .bmp
        } else if (has("P5") || has("P6")) && isSpace(2) {
            self = .portableMap
        } else if let name = Self.unreadName(has: { has($0) }, text: { has($0, at: $1) }) {
            self = .unread(name)
        } else if head.count > 2, head[0] == 0x50, (0x31...0x37).contains(head[1]), isSpace(2) {
            self = .unread("PNM (P\(head[1] - 0x30))")
        } else {
            return nil
        }
    }

    private static func unreadName(has: ([UInt8]) -> Bool, text: (String, Int) -> Bool) -> String? {
        if has([0x49, 0x49, 0x2A, 0]) || has([0x4D, 0x4D, 0, 0x2A]) || has([0x49, 0x49, 0x2B, 0])
            || has([0x4D, 0x4D, 0, 0x2B])
        {
            return "TIFF"
        }
        if text("GIF8", 0) { return "GIF" }
        if text("ftypavi", 4) { return "AVIF" }
        if ["heic", "heix", "hevc", "mif1", "msf1", "heim"].contains(where: { text("ftyp" + $0, 4) }) { return "HEIF" }
        if has([0xFF, 0x0A]) || has([0, 0, 0, 0x0C, 0x4A, 0x58, 0x4C, 0x20]) { return "JPEG XL" }
        if has([0, 0, 0, 0x0C, 0x6A, 0x50, 0x20, 0x20]) || has([0xFF, 0x4F, 0xFF, 0x51]) { return "JPEG 2000" }
        if text("8BPS", 0) { return "Photoshop" }
        if has([0x76, 0x2F, 0x31, 0x01]) { return "OpenEXR" }
        if has([0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]) { return "NumPy array" }
        return nil
    }
}
