internal import Foundation

/// What a glyph data set is made of: Han characters as identities, one image per character and face.
///
/// Together with the installed fonts it determines every pixel of the set.
public struct GlyphRecipe: Sendable, Hashable, Codable {
    /// The faces to render, in order.
    public var fonts = GlyphFont.standard
    /// Height and width of an image in pixels.
    public var imageSize = 32
    /// Size of the em square in pixels: what is left is margin.
    public var emSize = 28
    /// Characters to train on, if they are not to be chosen.
    public var characters: [UInt32]?
    /// How many characters to train on are chosen: those that most faces have, ties by key.
    public var classCount = 3000
    /// How many further characters, equally well covered, are never trained on.
    public var heldOutCount = 500
    /// A character is used only if at least this many different images of it exist.
    public var minimumImages = 8
    /// The code points that characters are chosen from: the block *CJK Unified Ideographs* unless changed.
    public var codePoints: Range<UInt32> = 0x4E00..<0xA000
    /// Decides ties and which of the chosen characters are held out.
    public var seed: UInt64 = 1

    public init() {}

    /// The faces of the recipe whose font file is installed.
    public func installedFonts() -> [GlyphFont] { fonts.filter { FileManager.default.isReadableFile(atPath: $0.path) } }

    /// The Debian packages to install before every face of the recipe is there, sorted.
    public func missingPackages() -> [String] {
        let installed = Set(installedFonts())
        return Set(fonts.filter { !installed.contains($0) }.map(\.package)).sorted()
    }

    /// What `other` has that this recipe has not, in words; nil if both are the same.
    package func difference(from other: GlyphRecipe) -> String? {
        guard self != other else { return nil }
        func count(_ recipe: GlyphRecipe) -> Int { recipe.characters?.count ?? recipe.classCount }
        var parts: [String] = []
        func compare(_ name: String, _ wanted: Int, _ found: Int) {
            if wanted != found { parts.append("\(found) \(name) instead of \(wanted)") }
        }
        compare("characters to train on", count(self), count(other))
        compare("characters held out", heldOutCount, other.heldOutCount)
        compare("pixels a side", imageSize, other.imageSize)
        if seed != other.seed { parts.append("seed \(other.seed) instead of \(seed)") }
        return parts.isEmpty ? "other fonts or characters" : parts.joined(separator: ", ")
    }

    /// Checks sizes and counts.
    ///
    /// - Throws: `DatasetError` (`invalidOption`) that names the value.
    package func validate() throws(DatasetError) {
        func check(_ holds: Bool, _ message: String) throws(DatasetError) {
            if !holds { throw DatasetError(.invalidOption, "glyph recipe: \(message)") }
        }
        try check((8...256).contains(imageSize), "an image size of \(imageSize) is not in 8...256 pixels")
        try check((4...imageSize).contains(emSize), "an em size of \(emSize) is not in 4...\(imageSize) pixels")
        try check(
            (1...100_000).contains(characters?.count ?? classCount), "the number of classes must be in 1...100000")
        try check((0...100_000).contains(heldOutCount), "the number of held-out characters must be in 0...100000")
        try check(
            (1...fonts.count.advanced(by: 1)).contains(minimumImages),
            "minimumImages \(minimumImages) exceeds \(fonts.count) faces")
        try check((1...1000).contains(fonts.count), "\(fonts.count) faces; give 1...1000")
        try check(
            !codePoints.isEmpty && codePoints.upperBound <= 0x110000, "code points \(codePoints) are not Unicode")
        try check(Set(characters ?? []).count == (characters?.count ?? 0), "a character is listed twice")
    }
}
