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
            Han characters are the identities, one image per character and font face. Does nothing if the file is there. A file \
            with other characters or sizes is never overwritten, because a run may train on it: then this ends with exit code 73.
            """)

    @Option(help: "The file to write.", completion: .file())
    var output: String

    @Option(help: "Characters to train on.")
    var classes = 3000

    @Option(help: "Characters to hold out for verification.")
    var heldOut = 500

    @Option(help: "Height and width of the images, in pixels.")
    var imageSize = 32

    @Option(help: "Which characters are held out.")
    var seed: UInt64 = 1

    @Option(help: "Threads that render.")
    var threads = min(1024, ProcessInfo.processInfo.activeProcessorCount)

    func validate() throws {
        // The recipe knows its limits; this keeps the arithmetic before them inside 64 bits.
        guard (1...65536).contains(imageSize) else {
            throw ValidationError("--image-size \(imageSize) is not in 8...256")
        }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    func run() throws {
        var recipe = GlyphRecipe()
        recipe.classCount = classes
        recipe.heldOutCount = heldOut
        recipe.imageSize = imageSize
        recipe.emSize = imageSize * 7 / 8
        recipe.seed = seed
        do {
            let cache = try GlyphCache.open(
                path: output, recipe: recipe, parallel: ParallelBlocks(threads: max(1, threads))
            ) {
                print($0)
            }
            let training = cache.training
            print(
                "\(output): \(training.sampleCount) images of \(training.classCount) characters, and \(cache.heldOut?.classCount ?? 0) characters held out"
            )
        } catch {
            Shown.failure("glyphs", error)
            let codes: [DatasetError.Code: Int32] = [.missingFonts: 69, .otherRecipe: 73, .unwritableFile: 73]
            throw ExitCode(codes[error.code] ?? 70)
        }
    }
}
