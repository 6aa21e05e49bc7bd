import ArgumentParser
import Dataset
import Determinism
import Foundation
import Glyphs

/// `worker glyphs`.
struct GlyphsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "glyphs",
        abstract: "Render the glyph data set from installed fonts into one file.",
        discussion: """
            Han characters are the identities, or the words of a list with --words, one image per identity and font face. Does \
            nothing if the file is there. A file with other identities or sizes is never overwritten, because a run may train on \
            it: then this ends with exit code 73.
            """)

    @Option(help: "The file to write.", completion: .file())
    var output: String

    @Option(
        help: "A list of words in UTF-8, one in every line: they are the identities, drawn in Latin fonts.",
        completion: .file())
    var words: String?

    @Option(help: "Identities to train on. 3000 characters unless given, or all words that are not held out.")
    var classes: Int?

    @Option(help: "Identities to hold out for verification. 500 characters unless given, or 20000 words.")
    var heldOut: Int?

    @Option(help: "Height of the images, in pixels. 32 unless given, 48 for words.")
    var imageSize: Int?

    @Option(help: "Width of the images, in pixels. The height unless given, twice the height for words.")
    var imageWidth: Int?

    @Option(help: "Images that an identity must have, at least. 8 unless given, 4 for words.")
    var minimumImages: Int?

    @Option(
        help:
            "Code points that characters are chosen from, in hexadecimal: 4E00-9FFF unless given, or ranges with commas between them."
    )
    var codePoints: CodePoints?

    @Option(help: "Letters of the longest word that is used.")
    var maximumLetters = 14

    @Option(help: "Fraction of the images to train on that get each other's labels.")
    var swappedLabels = 0.0

    @Option(help: "Fraction of the classes to train on that are split in two.")
    var splitClasses = 0.0

    @Option(help: "Decides which identities are held out, and which labels are wrong.")
    var seed: UInt64 = 1

    @Option(help: "Threads that render.")
    var threads = min(1024, ProcessInfo.processInfo.activeProcessorCount)

    /// Ranges such as `3400-4DBF,4E00-9FFF`, both ends included.
    struct CodePoints: ExpressibleByArgument {
        let ranges: [Range<UInt32>]

        init?(argument: String) {
            var ranges: [Range<UInt32>] = []
            for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
                let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { UInt32($0, radix: 16) }
                guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last, last < 0x110000 else {
                    return nil
                }
                ranges.append(first..<last + 1)
            }
            self.ranges = ranges
        }
    }

    func validate() throws {
        // The recipe knows its limits; this keeps the arithmetic before them inside 64 bits.
        for (name, size) in [("--image-size", imageSize), ("--image-width", imageWidth)] {
            guard (1...65536).contains(size ?? 1) else {
                throw ValidationError("\(name) \(size ?? 0) is not in 8...256")
            }
        }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
        guard words == nil || codePoints == nil else {
            throw ValidationError("--code-points chooses among characters; it has no effect with --words")
        }
    }

    func run() throws {
        do {
            let list = try words.map { (path) throws(DatasetError) in
                try WordList(path: path, maximumLetters: maximumLetters)
            }
            let cache = try GlyphCache.open(
                path: output, recipe: recipe(list), words: list, parallel: ParallelBlocks(threads: max(1, threads))
            ) {
                print($0)
            }
            let (training, identities) = (cache.training, list == nil ? "characters" : "words")
            print(
                "\(output): \(training.sampleCount) images of \(training.classCount) \(identities), and \(cache.heldOut?.classCount ?? 0) \(identities) held out; fingerprint \(String(training.fingerprint, radix: 16))"
            )
        } catch {
            Shown.failure("glyphs", error)
            let codes: [DatasetError.Code: Int32] = [
                .missingFonts: 69, .otherRecipe: 73, .unwritableFile: 73, .missingFile: 66, .unreadableFile: 66,
                .malformedFile: 66, .noSamples: 66, .invalidOption: 64,
            ]
            throw ExitCode(codes[error.code] ?? 70)
        }
    }

    private func recipe(_ list: WordList?) -> GlyphRecipe {
        var recipe = list.map { GlyphRecipe(words: $0) } ?? GlyphRecipe()
        if let classes { recipe.classCount = classes }
        if let heldOut { recipe.heldOutCount = heldOut }
        if let imageSize {
            recipe.imageSize = imageSize
            recipe.emSize = imageSize * 7 / 8
            if list != nil { recipe.imageWidth = 2 * imageSize }
        }
        if let imageWidth { recipe.imageWidth = imageWidth }
        if let minimumImages { recipe.minimumImages = minimumImages }
        if let codePoints {
            recipe.codePoints = codePoints.ranges[0]
            if codePoints.ranges.count > 1 { recipe.furtherCodePoints = Array(codePoints.ranges.dropFirst()) }
        }
        if swappedLabels != 0 { recipe.swappedLabels = swappedLabels }
        if splitClasses != 0 { recipe.splitClasses = splitClasses }
        recipe.seed = seed
        return recipe
    }
}
