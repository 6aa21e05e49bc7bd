internal import CFreeType

/// Draws text with an outline font that is installed, or digits of its own if there is none.
final class TextDrawer {
    enum Alignment { case left, center, right }

    static let fonts = [
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
        "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
        "/usr/share/fonts/truetype/lxgw-wenkai/LXGWWenKai-Regular.ttf",
    ]
    private var library: FT_Library?
    private var face: FT_Face?

    init(fonts: [String] = TextDrawer.fonts) {
        guard FT_Init_FreeType(&library) == 0 else { return }
        for font in fonts where face == nil {
            if FT_New_Face(library, font, 0, &face) != 0 { face = nil }
        }
    }

    deinit {
        if let face { FT_Done_Face(face) }
        if let library { FT_Done_FreeType(library) }
    }

    /// Draws `text` with its baseline at `y`, `size` pixels high.
    func draw(
        _ text: String, x: Double, y: Double, size: Int, align: Alignment = .left, color: Canvas.Color = .black,
        on canvas: inout Canvas
    ) {
        let width = place(text, size: size) { _, _, _, _ in }
        let start = align == .left ? x : align == .center ? x - width / 2 : x - width
        var ink: [(Int, Int, Double)] = []
        _ = place(text, size: size) { column, row, opacity, pen in
            ink.append((Int((start + pen).rounded()) + column, Int(y.rounded()) + row, opacity))
        }
        for (column, row, opacity) in ink { canvas.blend(column, row, color, opacity) }
    }

    /// Calls `plot(column, row, opacity, pen)` for every inked pixel relative to the pen on the baseline; returns the width.
    private func place(_ text: String, size: Int, _ plot: (Int, Int, Double, Double) -> Void) -> Double {
        var pen = 0.0
        for character in text.unicodeScalars {
            guard let face, FT_Set_Pixel_Sizes(face, 0, FT_UInt(size)) == 0,
                FT_Load_Char(face, FT_ULong(character.value), FT_Int32(pfc_freetype_load_flags())) == 0,
                let slot = face.pointee.glyph
            else {
                pen += SmallDigits.place(character, height: size * 3 / 4) { plot($0, $1, 1, pen) }
                continue
            }
            let bitmap = slot.pointee.bitmap
            if let buffer = bitmap.buffer, bitmap.pitch > 0 {
                for row in 0..<Int(bitmap.rows) {
                    for column in 0..<Int(bitmap.width) where buffer[row * Int(bitmap.pitch) + column] > 0 {
                        let opacity = Double(buffer[row * Int(bitmap.pitch) + column]) / 255
                        plot(column + Int(slot.pointee.bitmap_left), row - Int(slot.pointee.bitmap_top), opacity, pen)
                    }
                }
            }
            pen += Double(slot.pointee.advance.x) / 64
        }
        return pen
    }
}

/// Digits, point and minus as 3 × 5 squares, for machines without fonts. Other characters are blank.
enum SmallDigits {
    private static let rows: [Unicode.Scalar: [UInt8]] = [
        "0": [7, 5, 5, 5, 7], "1": [2, 6, 2, 2, 7], "2": [7, 1, 7, 4, 7], "3": [7, 1, 7, 1, 7], "4": [5, 5, 7, 1, 1],
        "5": [7, 4, 7, 1, 7], "6": [7, 4, 7, 5, 7], "7": [7, 1, 2, 2, 2], "8": [7, 5, 7, 5, 7], "9": [7, 5, 7, 1, 7],
        ".": [0, 0, 0, 0, 2], "-": [0, 0, 7, 0, 0], "%": [5, 1, 2, 4, 5],
    ]

    /// Calls `plot(column, row)` for every inked pixel above the baseline; returns how far the pen moves.
    static func place(_ character: Unicode.Scalar, height: Int, _ plot: (Int, Int) -> Void) -> Double {
        let unit = max(1, height / 5)
        for (row, bits) in (rows[character] ?? []).enumerated() {
            for column in 0..<3 where bits >> UInt8(2 - column) & 1 == 1 {
                for y in 0..<unit { for x in 0..<unit { plot(column * unit + x, (row - 5) * unit + y) } }
            }
        }
        return Double(4 * unit)
    }
}
