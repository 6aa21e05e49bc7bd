/// Windows bitmaps without compression: 1, 4 and 8 bits with a palette, 16, 24 and 32 bits with or without masks. The
/// fourth byte of 32 bits is not looked at.
enum BMPDecoder {
    /// The lengths that the second header has had over the years.
    static let headerLengths: Set<Int> = [12, 40, 52, 56, 64, 108, 124]

    static func decode(_ bytes: UnsafeRawBufferPointer) throws(DatasetError) -> DecodedImage {
        let header = try BMPHeader(bytes)
        let shape = try ImageDecoder.checkedShape(
            channels: 3, height: header.height, width: header.width, format: "BMP")
        let rowLength = (header.width * header.bits + 31) / 32 * 4
        guard header.pixelStart <= bytes.count, (bytes.count - header.pixelStart) / rowLength >= header.height else {
            throw DatasetError(.corruptImage, "BMP of \(shape) is truncated: \(bytes.count) bytes")
        }
        var pixels = [UInt8](repeating: 0, count: shape.count)
        var target = 0
        for row in 0..<header.height {
            let stored = header.isTopDown ? row : header.height - 1 - row
            let start = header.pixelStart + stored * rowLength
            for column in 0..<header.width {
                let color = header.color(bytes, rowStart: start, column: column)
                pixels[target] = color.0
                pixels[target + 1] = color.1
                pixels[target + 2] = color.2
                target += 3
            }
        }
        return DecodedImage(shape: shape, pixels: pixels)
    }
}

/// What precedes the pixels of a bitmap.
private struct BMPHeader {
    var width: Int
    var height: Int
    var isTopDown = false
    var bits: Int
    var pixelStart: Int
    /// RGB triples, for up to 8 bits.
    var palette: [UInt8] = []
    /// Shift and largest value of red, green and blue, for 16 and 32 bits.
    private var fields: [(shift: UInt32, maximum: UInt32)] = []

    init(_ bytes: UnsafeRawBufferPointer) throws(DatasetError) {
        func number(_ offset: Int, _ count: Int) -> Int {
            (0..<count).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
        }
        func signed(_ offset: Int) -> Int { Int(Int32(truncatingIfNeeded: number(offset, 4))) }
        guard bytes.count >= 26 else { throw DatasetError(.corruptImage, "BMP ends inside its header") }
        let length = number(14, 4)
        guard BMPDecoder.headerLengths.contains(length), bytes.count >= 14 + length else {
            throw DatasetError(.corruptImage, "BMP has a header of \(length) bytes, which is none of the known ones")
        }
        pixelStart = number(10, 4)
        var compression = 0
        var colors = 0
        if length == 12 {
            (width, height, bits) = (number(18, 2), number(20, 2), number(24, 2))
        } else {
            width = signed(18)
            height = abs(signed(22))
            isTopDown = signed(22) < 0
            (bits, compression, colors) = (number(28, 2), number(30, 4), number(46, 4))
        }
        let hasMasks = compression == 3 || compression == 6
        guard compression == 0 || (hasMasks && (bits == 16 || bits == 32)) else {
            throw DatasetError(.corruptImage, "BMP is compressed (method \(compression)), which is not read")
        }
        switch bits {
        case 1, 4, 8:
            let size = length == 12 ? 3 : 4
            let count = colors > 0 ? min(colors, 1 << bits) : 1 << bits
            guard bytes.count >= 14 + length + count * size else {
                throw DatasetError(.corruptImage, "BMP ends inside its palette")
            }
            palette = [UInt8](repeating: 0, count: 3 << bits)
            for color in 0..<count {
                for channel in 0..<3 {
                    palette[3 * color + channel] = bytes[14 + length + color * size + 2 - channel]
                }
            }
        case 16, 32:
            var masks: [UInt32] = bits == 16 ? [0x7C00, 0x3E0, 0x1F] : [0xFF_0000, 0xFF00, 0xFF]
            if hasMasks {
                guard bytes.count >= 66 else { throw DatasetError(.corruptImage, "BMP ends inside its masks") }
                masks = (0..<3).map { UInt32(truncatingIfNeeded: number(54 + 4 * $0, 4)) }
            }
            for mask in masks {
                let shift = UInt32(mask.trailingZeroBitCount)
                let maximum = mask == 0 ? 0 : mask >> shift
                guard maximum & (maximum &+ 1) == 0 else {
                    throw DatasetError(.corruptImage, "BMP has the mask 0x\(String(mask, radix: 16)), which has gaps")
                }
                fields.append((shift, maximum))
            }
        case 24: break
        default: throw DatasetError(.corruptImage, "BMP has \(bits) bits per pixel; 1, 4, 8, 16, 24 and 32 are read")
        }
    }

    /// Red, green and blue of a pixel. The row must lie inside `bytes`.
    func color(_ bytes: UnsafeRawBufferPointer, rowStart: Int, column: Int) -> (UInt8, UInt8, UInt8) {
        switch bits {
        case 24:
            let start = rowStart + 3 * column
            return (bytes[start + 2], bytes[start + 1], bytes[start])
        case 16, 32:
            var value: UInt32 = 0
            for byte in 0..<bits / 8 { value |= UInt32(bytes[rowStart + bits / 8 * column + byte]) << UInt32(8 * byte) }
            func channel(_ index: Int) -> UInt8 {
                let (shift, maximum) = fields[index]
                if maximum == 0 { return 0 }
                return UInt8(UInt64(value >> shift & maximum) * 255 / UInt64(maximum))
            }
            return (channel(0), channel(1), channel(2))
        default:
            let bit = column * bits
            let byte = bytes[rowStart + bit / 8]
            let index = Int(byte >> UInt8(8 - bits - bit % 8)) & (1 << bits - 1)
            return (palette[3 * index], palette[3 * index + 1], palette[3 * index + 2])
        }
    }
}
