internal import CKernels
package import Foundation

/// The record in a cache file: the recipe, what it found, and the classes.
public struct GlyphRecord: Sendable, Hashable, Codable {
    /// A face that was used.
    public struct Font: Sendable, Hashable, Codable {
        public var font: GlyphFont
        /// Family, style and revision as the font states them.
        public var description: String
        /// Length of the font file.
        public var byteCount: Int

        package init(font: GlyphFont, description: String, byteCount: Int) {
            self.font = font
            self.description = description
            self.byteCount = byteCount
        }
    }

    public var recipe: GlyphRecipe
    public var fonts: [Font]
    /// FreeType's version, major × 10⁶ + minor × 10³ + patch: another one may draw other pixels.
    public var freeTypeVersion: Int
    /// The character of each class: those to train on, ascending, then the held-out ones, ascending.
    public var characters: [UInt32]
    public var heldOutCount: Int

    package init(
        recipe: GlyphRecipe, fonts: [Font], freeTypeVersion: Int, characters: [UInt32], heldOutCount: Int
    ) {
        self.recipe = recipe
        self.fonts = fonts
        self.freeTypeVersion = freeTypeVersion
        self.characters = characters
        self.heldOutCount = heldOutCount
    }
}

/// The bytes of a glyph cache: header of 64 bytes, record as JSON, labels i32, faces i32, images u8. All little-endian,
/// each part starts at a multiple of 64.
///
/// | offset | header field |
/// |---|---|
/// | 0 | magic `PFCGLYPH` |
/// | 8 | version u32 = 1 |
/// | 12 | image size in pixels u32 |
/// | 16 | samples u64 |
/// | 24 | length of the JSON u64 |
/// | 32 | checksum u64 of the header with this field zero, then of everything after it |
package enum GlyphCacheFile {
    static let magic = Array("PFCGLYPH".utf8)
    static let version: UInt32 = 1
    static let headerByteCount = 64

    /// Where the parts of a file start.
    struct Layout {
        var labels: Int
        var faces: Int
        var images: Int
        var end: Int

        /// - Returns: nil if the sizes overflow.
        init?(json: Int, samples: Int, imageSize: Int) {
            func aligned(_ value: Int) -> Int { (value + 63) / 64 * 64 }
            guard json >= 0, json < 1 << 30, samples >= 0, samples < 1 << 32, (1...256).contains(imageSize) else {
                return nil
            }
            labels = aligned(headerByteCount + json)
            faces = aligned(labels + 4 * samples)
            images = aligned(faces + 4 * samples)
            end = images + samples * imageSize * imageSize
        }
    }

    /// The bytes of a whole file.
    package static func bytes(record: GlyphRecord, glyphs: GlyphImages) throws(DatasetError) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let json = try? encoder.encode(record),
            let layout = Layout(json: json.count, samples: glyphs.labels.count, imageSize: record.recipe.imageSize)
        else { throw DatasetError(.invalidOption, "a glyph set of this size cannot be stored") }
        var data = Data(capacity: layout.end)
        func append(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { data.append(contentsOf: $0) }
        }
        func pad(to offset: Int) { data.append(contentsOf: [UInt8](repeating: 0, count: offset - data.count)) }
        data.append(contentsOf: magic)
        append(version)
        append(UInt32(record.recipe.imageSize))
        append(UInt64(glyphs.labels.count))
        append(UInt64(json.count))
        pad(to: headerByteCount)
        data.append(json)
        pad(to: layout.labels)
        for label in glyphs.labels { append(label) }
        pad(to: layout.faces)
        for face in glyphs.faces { append(face) }
        pad(to: layout.images)
        data.append(contentsOf: glyphs.images)
        let sum = data.withUnsafeBytes { checksum($0) }
        withUnsafeBytes(of: sum.littleEndian) { data.replaceSubrange(32..<40, with: $0) }
        return data
    }

    /// The checksum of a file; what its field holds does not matter.
    static func checksum(_ file: UnsafeRawBufferPointer) -> UInt64 {
        var header = Array(file.prefix(headerByteCount))
        header.replaceSubrange(32..<40, with: [UInt8](repeating: 0, count: 8))
        let first = header.withUnsafeBytes { pfc_image_checksum(0, $0.baseAddress, $0.count) }
        let rest = UnsafeRawBufferPointer(rebasing: file.dropFirst(headerByteCount))
        return pfc_image_checksum(first, rest.baseAddress, rest.count)
    }
}
