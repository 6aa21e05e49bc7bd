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
    /// The character of each class: those to train on, ascending, then the second halves of split classes, then the held-out
    /// ones, ascending. Empty if the classes are words.
    public var characters: [UInt32]
    /// The word of each class, in the same order; nil if the classes are characters.
    public var words: [String]?
    public var heldOutCount: Int

    package init(
        recipe: GlyphRecipe, fonts: [Font], freeTypeVersion: Int, characters: [UInt32], words: [String]? = nil,
        heldOutCount: Int
    ) {
        self.recipe = recipe
        self.fonts = fonts
        self.freeTypeVersion = freeTypeVersion
        self.characters = characters
        self.words = words
        self.heldOutCount = heldOutCount
    }

    /// Number of classes, the held-out ones too.
    public var classCount: Int { words?.count ?? characters.count }

    /// What class `label` shows: the word, or the character's number in Unicode.
    public func name(of label: Int) -> String {
        words.map { $0[label] } ?? "U+\(String(characters[label], radix: 16, uppercase: true))"
    }
}

/// The bytes of a glyph cache: header of 64 bytes, record as JSON, labels i32, faces i32, images u8. All little-endian,
/// each part starts at a multiple of 64.
///
/// | offset | header field |
/// |---|---|
/// | 0 | magic `PFCGLYPH` |
/// | 8 | version u32: 1 for square images of characters, else 2 |
/// | 12 | height of an image in pixels u32 |
/// | 16 | samples u64 |
/// | 24 | length of the JSON u64 |
/// | 32 | checksum u64 of the header with this field zero, then of everything after it |
/// | 40 | version 2: width of an image in pixels u32 |
package enum GlyphCacheFile {
    package static let magic = Array("PFCGLYPH".utf8)
    static let versions: ClosedRange<UInt32> = 1...2
    static let headerByteCount = 64
    package static let checksumOffset = 32

    /// Where the parts of a file start.
    struct Layout {
        var labels: Int
        var faces: Int
        var images: Int
        var end: Int

        /// - Returns: nil if the sizes overflow.
        init?(json: Int, samples: Int, height: Int, width: Int) {
            func aligned(_ value: Int) -> Int { (value + 63) / 64 * 64 }
            guard json >= 0, json < 1 << 30, samples >= 0, samples < 1 << 32, (1...256).contains(height),
                (1...256).contains(width)
            else { return nil }
            labels = aligned(headerByteCount + json)
            faces = aligned(labels + 4 * samples)
            images = aligned(faces + 4 * samples)
            end = images + samples * height * width
        }
    }

    /// The bytes of a file up to its images, with a checksum of zero.
    ///
    /// - Throws: `DatasetError` if the set is too large for the format.
    package static func start(record: GlyphRecord, labels: [Int32], faces: [Int32]) throws(DatasetError) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let shape = record.recipe.imageShape
        guard let json = try? encoder.encode(record),
            let layout = Layout(json: json.count, samples: labels.count, height: shape.height, width: shape.width)
        else { throw DatasetError(.invalidOption, "a glyph set of this size cannot be stored") }
        var data = Data(capacity: layout.images)
        func append(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { data.append(contentsOf: $0) }
        }
        func pad(to offset: Int) { data.append(contentsOf: [UInt8](repeating: 0, count: offset - data.count)) }
        let isFirstVersion = record.words == nil && shape.height == shape.width
        data.append(contentsOf: magic)
        append(isFirstVersion ? versions.lowerBound : versions.upperBound)
        append(UInt32(shape.height))
        append(UInt64(labels.count))
        append(UInt64(json.count))
        append(UInt64(0))
        if !isFirstVersion { append(UInt32(shape.width)) }
        pad(to: headerByteCount)
        data.append(json)
        pad(to: layout.labels)
        for label in labels { append(label) }
        pad(to: layout.faces)
        for face in faces { append(face) }
        pad(to: layout.images)
        return data
    }

    /// The checksum of a file; what its field holds does not matter.
    package static func checksum(_ file: UnsafeRawBufferPointer) -> UInt64 {
        var header = Array(file.prefix(headerByteCount))
        header.replaceSubrange(checksumOffset..<checksumOffset + 8, with: [UInt8](repeating: 0, count: 8))
        let first = header.withUnsafeBytes { pfc_image_checksum(0, $0.baseAddress, $0.count) }
        let rest = UnsafeRawBufferPointer(rebasing: file.dropFirst(headerByteCount))
        return pfc_image_checksum(first, rest.baseAddress, rest.count)
    }
}
