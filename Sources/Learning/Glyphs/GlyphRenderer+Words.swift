internal import CFreeType
internal import Dataset

/// Words of one face: letter after letter, without kerning, at fractions of a pixel.
extension GlyphRenderer {
    /// Those of `characters` that the face has and draws with ink.
    func drawn(of characters: [UInt32]) -> Set<UInt32> { Set(characters.filter { image(of: $0) != nil }) }

    /// Draws a word, as large as fits but no letter larger than the em size, centred by its ink. Every letter is one that the face
    /// has.
    ///
    /// - Parameter image: height × width bytes, which are overwritten; 0 = paper, 255 = ink.
    func draw(_ word: [UInt32], into image: UnsafeMutableBufferPointer<UInt8>) {
        guard let face else { return }
        let glyphs = word.map { FT_Get_Char_Index(face, FT_ULong($0)) }
        let advance = glyphs.reduce(0) { $0 + fontUnits(of: $1) }
        var size = emSize
        if advance > 0 { size = min(size, max(4, shape.width * Int(face.pointee.units_per_EM) / advance)) }
        while true {
            let ink = layOut(glyphs, size: size)
            // At 4 pixels a letter, what does not fit is cut off.
            if ink.fits(shape.height, shape.width) || size <= 4 {
                copy(ink, into: image)
                return
            }
            size = max(
                4,
                min(
                    size - 1, size * shape.height / max(1, ink.bottom - ink.top),
                    size * shape.width / max(1, ink.right - ink.left)))
        }
    }

    /// The box of the ink on the canvas, in pixels.
    struct Ink {
        var (left, top, right, bottom) = (Int.max, Int.max, 0, 0)

        func fits(_ height: Int, _ width: Int) -> Bool { bottom - top <= height && right - left <= width }
    }

    /// How far a letter moves the pen, in the face's own units.
    private func fontUnits(of glyph: FT_UInt) -> Int {
        if let known = advances[glyph] { return known }
        guard let face, FT_Load_Glyph(face, glyph, FT_Int32(FT_LOAD_NO_SCALE)) == 0, let slot = face.pointee.glyph
        else { return 0 }
        let advance = Int(slot.pointee.metrics.horiAdvance)
        advances[glyph] = advance
        return advance
    }

    /// Draws letters on the canvas, three times as high and wide as the image. What lies outside is cut off.
    private func layOut(_ glyphs: [FT_UInt], size: Int) -> Ink {
        let (height, width) = (3 * shape.height, 3 * shape.width)
        canvas = [UInt8](repeating: 0, count: height * width)
        var ink = Ink()
        guard let face, FT_Set_Pixel_Sizes(face, 0, FT_UInt(size)) == 0 else { return ink }
        // In 64ths of a pixel.
        var pen = shape.width / 2 * 64
        for glyph in glyphs {
            var offset = FT_Vector(x: FT_Pos(pen & 63), y: 0)
            FT_Set_Transform(face, nil, &offset)
            guard FT_Load_Glyph(face, glyph, pfc_freetype_load_flags()) == 0, let slot = face.pointee.glyph else {
                continue
            }
            let bitmap = slot.pointee.bitmap
            if let buffer = bitmap.buffer, bitmap.pitch >= Int32(bitmap.width) {
                let (left, top) = (
                    pen >> 6 + Int(slot.pointee.bitmap_left), 2 * shape.height - Int(slot.pointee.bitmap_top)
                )
                for row in 0..<Int(bitmap.rows) where (0..<height).contains(top + row) {
                    for column in 0..<Int(bitmap.width) where (0..<width).contains(left + column) {
                        let value = buffer[row * Int(bitmap.pitch) + column]
                        guard value > 0 else { continue }
                        let (y, x) = (top + row, left + column)
                        canvas[y * width + x] = max(canvas[y * width + x], value)
                        (ink.left, ink.right) = (min(ink.left, x), max(ink.right, x + 1))
                        (ink.top, ink.bottom) = (min(ink.top, y), max(ink.bottom, y + 1))
                    }
                }
            }
            pen += Int(slot.pointee.advance.x)
        }
        FT_Set_Transform(face, nil, nil)
        return ink
    }

    private func copy(_ ink: Ink, into image: UnsafeMutableBufferPointer<UInt8>) {
        image.update(repeating: 0)
        let (rows, columns) = (min(shape.height, ink.bottom - ink.top), min(shape.width, ink.right - ink.left))
        guard rows > 0, columns > 0 else { return }
        let (top, left) = ((shape.height - rows) / 2, (shape.width - columns) / 2)
        for y in 0..<rows {
            for x in 0..<columns {
                image[(top + y) * shape.width + left + x] = canvas[(ink.top + y) * 3 * shape.width + ink.left + x]
            }
        }
    }
}
