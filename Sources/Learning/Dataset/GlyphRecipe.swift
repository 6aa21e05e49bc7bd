internal import Foundation

/// What a glyph data set is made of: characters or words as identities, one image per identity and face.
///
/// Together with the installed fonts it determines every pixel of the set.
public struct GlyphRecipe: Sendable, Hashable, Codable {
    /// The faces to render, in order.
    public var fonts = GlyphFont.standard
    /// Height of an image in pixels.
    public var imageSize = 32
    /// Width of an image in pixels; nil: the same as the height.
    public var imageWidth: Int?
    /// Size of the em square in pixels: what is left is margin.
    public var emSize = 28
    /// The words to choose from: they are the identities then, and no characters. Nil for characters.
    public var words: Words?
    /// Characters to train on, if they are not to be chosen.
    public var characters: [UInt32]?
    /// How many characters to train on are chosen: those that most faces have, ties by key. Of words 0 is all that are not held out.
    public var classCount = 3000
    /// How many further identities, equally well covered, are never trained on.
    public var heldOutCount = 500
    /// An identity is used only if at least this many different images of it exist, of a word: if so many faces have its letters.
    public var minimumImages = 8
    /// The code points that characters are chosen from: the block *CJK Unified Ideographs* unless changed.
    public var codePoints: Range<UInt32> = 0x4E00..<0xA000
    /// Further ranges to choose from; nil for none. No two ranges have a code point in common.
    public var furtherCodePoints: [Range<UInt32>]?
    /// Fraction of the images to train on that get the label of another image; nil for none.
    public var swappedLabels: Double?
    /// Fraction of the classes to train on that are split in two, every second image into a class of its own; nil for none.
    public var splitClasses: Double?
    /// Decides ties, which identities are held out, and which labels are wrong.
    public var seed: UInt64 = 1

    /// The list that words are chosen from, as a recipe names it.
    public struct Words: Sendable, Hashable, Codable {
        /// Fingerprint of the list's distinct words, in hexadecimal.
        public var fingerprint: String
        /// Letters of the longest word that is used.
        public var maximumLetters: Int

        package init(fingerprint: String, maximumLetters: Int) {
            self.fingerprint = fingerprint
            self.maximumLetters = maximumLetters
        }
    }

    /// Characters.
    public init() {}

    /// The words of a list, in Latin fonts: 20,000 are held out, the others are trained on, in images of 48 × 96.
    public init(words list: WordList) {
        words = list.recipe
        fonts = GlyphFont.latin
        (imageSize, imageWidth, emSize) = (48, 96, 42)
        (classCount, heldOutCount, minimumImages) = (0, 20_000, 4)
    }

    /// What the identities are called.
    package var identities: String { words == nil ? "characters" : "words" }

    package var allCodePoints: [Range<UInt32>] { [codePoints] + (furtherCodePoints ?? []) }

    /// The shape of every image: gray.
    package var imageShape: ImageShape { ImageShape(channels: 1, height: imageSize, width: imageWidth ?? imageSize) }

    /// The faces of the recipe whose font file is installed.
    public func installedFonts() -> [GlyphFont] { fonts.filter { FileManager.default.isReadableFile(atPath: $0.path) } }

    /// The Debian packages to install before every face of the recipe is there, sorted.
    public func missingPackages() -> [String] {
        let installed = Set(installedFonts())
        return Set(fonts.filter { !installed.contains($0) }.map(\.package)).sorted()
    }

    /// `, or install more fonts (fonts-a fonts-b)`, if there are any; else nothing.
    package var moreFonts: String {
        let packages = missingPackages()
        return packages.isEmpty ? "" : ", or install more fonts (\(packages.joined(separator: " ")))"
    }

    /// What `other` has that this recipe has not, in words; nil if both are the same.
    package func difference(from other: GlyphRecipe) -> String? {
        guard self != other else { return nil }
        guard (words == nil) == (other.words == nil) else { return words == nil ? "words" : "characters" }
        func count(_ recipe: GlyphRecipe) -> Int { recipe.characters?.count ?? recipe.classCount }
        var parts: [String] = []
        func compare(_ name: String, _ wanted: Int, _ found: Int) {
            if wanted != found { parts.append("\(found) \(name) instead of \(wanted)") }
        }
        compare("\(identities) to train on", count(self), count(other))
        compare("\(identities) held out", heldOutCount, other.heldOutCount)
        compare("pixels of height", imageSize, other.imageSize)
        compare("pixels of width", imageShape.width, other.imageShape.width)
        if (swappedLabels ?? 0, splitClasses ?? 0) != (other.swappedLabels ?? 0, other.splitClasses ?? 0) {
            parts.append("other wrong labels")
        }
        if seed != other.seed { parts.append("seed \(other.seed) instead of \(seed)") }
        return parts.isEmpty ? "other fonts or \(identities)" : parts.joined(separator: ", ")
    }

    /// Checks sizes and counts.
    ///
    /// - Throws: `DatasetError` (`invalidOption`) that names the value.
    package func validate() throws(DatasetError) {
        func check(_ holds: Bool, _ message: String) throws(DatasetError) {
            if !holds { throw DatasetError(.invalidOption, "glyph recipe: \(message)") }
        }
        try check((8...256).contains(imageSize), "an image size of \(imageSize) is not in 8...256 pixels")
        try check(
            (8...256).contains(imageShape.width), "an image width of \(imageShape.width) is not in 8...256 pixels")
        try check((4...imageSize).contains(emSize), "an em size of \(emSize) is not in 4...\(imageSize) pixels")
        let most = words == nil ? 100_000 : WordList.maximumCount
        try check(
            (words == nil ? 1...most : 0...most).contains(characters?.count ?? classCount),
            "the number of classes must be in 1...\(most)")
        try check((0...most).contains(heldOutCount), "the number of held-out \(identities) must be in 0...\(most)")
        try check(words == nil || characters == nil, "either words or characters are the identities")
        for (name, fraction) in [("swapped labels", swappedLabels), ("split classes", splitClasses)] {
            try check((0...1).contains(fraction ?? 0), "the fraction of \(name) must be in 0...1")
        }
        try check((splitClasses ?? 0) == 0 || minimumImages > 1, "a class that is split needs two images")
        try check(
            (1...fonts.count.advanced(by: 1)).contains(minimumImages),
            "minimumImages \(minimumImages) exceeds \(fonts.count) faces")
        try check((1...1000).contains(fonts.count), "\(fonts.count) faces; give 1...1000")
        try check(
            allCodePoints.allSatisfy { !$0.isEmpty && $0.upperBound <= 0x110000 },
            "code points \(allCodePoints) are not Unicode")
        let ascending = allCodePoints.sorted { $0.lowerBound < $1.lowerBound }
        try check(
            zip(ascending, ascending.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound },
            "code points \(allCodePoints) overlap")
        try check(Set(characters ?? []).count == (characters?.count ?? 0), "a character is listed twice")
    }
}
