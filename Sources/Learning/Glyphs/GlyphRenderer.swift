internal import CFreeType
internal import Dataset

/// Renders characters of one face. For one thread at a time.
final class GlyphRenderer {
    private var library: FT_Library?
    private(set) var face: FT_Face?
    let shape: ImageShape
    let emSize: Int
    /// What words are laid out on.
    var canvas: [UInt8] = []
    /// How far letters move the pen, in the face's own units.
    var advances: [FT_UInt: Int] = [:]
    /// What the face draws for characters it does not have.
    private var missing: [UInt8]?

    /// - Throws: `DatasetError` if FreeType cannot open the face or it has no outlines or no Unicode map.
    init(font: GlyphFont, recipe: GlyphRecipe) throws(DatasetError) {
        shape = recipe.imageShape
        emSize = recipe.emSize
        func fail(_ problem: String) -> DatasetError {
            DatasetError(.unreadableFile, path: font.path, "face \(font.face) \(problem); reinstall \(font.package)")
        }
        guard FT_Init_FreeType(&library) == 0 else { throw fail("cannot be opened: FreeType has no memory") }
        let status = FT_New_Face(library, font.path, FT_Long(font.face), &face)
        guard status == 0, let face else { throw fail("cannot be opened (FreeType error \(status))") }
        guard pfc_freetype_select_unicode(face) != 0 else { throw fail("has no Unicode character map") }
        missing = rendered(glyph: 0)
    }

    deinit {
        if let face { FT_Done_Face(face) }
        if let library { FT_Done_FreeType(library) }
    }

    /// Family, style and revision, for the record.
    var description: String {
        guard let face else { return "" }
        let family = face.pointee.family_name.map { String(cString: $0) } ?? "?"
        let style = face.pointee.style_name.map { String(cString: $0) } ?? "?"
        return "\(family) \(style) \(Double(pfc_freetype_revision(face)) / 65536)"
    }

    /// The characters in `range` that the face maps to a glyph.
    func characters(in range: Range<UInt32>) -> [UInt32] {
        guard let face else { return [] }
        return range.filter { FT_Get_Char_Index(face, FT_ULong($0)) != 0 }
    }

    /// The image of `character`, height × width bytes, 0 = paper, 255 = ink; nil if the face does not have it, or draws nothing
    /// or the picture for missing characters.
    func image(of character: UInt32) -> [UInt8]? {
        guard let face else { return nil }
        let glyph = FT_Get_Char_Index(face, FT_ULong(character))
        guard glyph != 0, let image = rendered(glyph: glyph), image != missing else { return nil }
        return image
    }

    /// The glyph centred by its ink. One larger than the image is rendered again at the size that fits.
    private func rendered(glyph: FT_UInt) -> [UInt8]? {
        guard let face else { return nil }
        var size = emSize
        while size >= 4 {
            guard FT_Set_Pixel_Sizes(face, 0, FT_UInt(size)) == 0,
                FT_Load_Glyph(face, glyph, pfc_freetype_load_flags()) == 0, let slot = face.pointee.glyph
            else { return nil }
            let bitmap = slot.pointee.bitmap
            let (rows, columns) = (Int(bitmap.rows), Int(bitmap.width))
            guard rows > 0, columns > 0, let buffer = bitmap.buffer, bitmap.pitch >= Int32(columns) else { return nil }
            if rows > shape.height || columns > shape.width {
                size = min(size - 1, size * shape.height / rows, size * shape.width / columns)
                continue
            }
            var image = [UInt8](repeating: 0, count: shape.count)
            let (top, left) = ((shape.height - rows) / 2, (shape.width - columns) / 2)
            var ink = 0
            for y in 0..<rows {
                for x in 0..<columns {
                    let value = buffer[y * Int(bitmap.pitch) + x]
                    image[(top + y) * shape.width + left + x] = value
                    ink += Int(value)
                }
            }
            // Less than about four black pixels is a speck, not a character.
            return ink < 4 * 255 ? nil : image
        }
        return nil
    }
}
