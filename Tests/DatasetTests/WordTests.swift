import Dataset
import Determinism
import Foundation
import Glyphs
import TestSupport
import Testing

private let installedFaces = GlyphFont.latin.filter { FileManager.default.isReadableFile(atPath: $0.path) }.count

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct WordTests {
    private func list(_ bytes: [UInt8], maximumLetters: Int = 14) throws -> WordList {
        let folder = try TemporaryFolder()
        let path = folder.path + "/words"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return try WordList(path: path, maximumLetters: maximumLetters)
    }

    @Test func linesAreWords() throws {
        let mark = "\u{FEFF}"
        // É in both forms, CR LF, spaces around, an empty line, no end of line.
        let words = try list(
            Array(
                (mark + "pear\r\nE\u{301}t\u{e9}\r\n\r\n  apple \npear\n\u{c9}t\u{e9}\nNew York\ncounterrevolutionary")
                    .utf8))
        #expect(words.words == ["apple", "pear", "Été"])
        #expect(words.omitted.repeated == 2 && words.omitted.tooLong == 1 && words.omitted.notWords == 1)
        #expect(words.omitted.description == "2 repeated, 1 too long, 1 with spaces or control characters")
        // The order of the file does not matter, nor what ends its lines.
        let again = try list(Array("Été\napple\npear\n".utf8))
        #expect(again.recipe == words.recipe)
        #expect(try list(Array("Été\napple\npeer\n".utf8)).recipe != words.recipe)
    }

    @Test func unusableListsAreRefused() throws {
        func problem(_ bytes: [UInt8], _ maximumLetters: Int = 14) -> DatasetError? {
            #expect(throws: DatasetError.self) { try list(bytes, maximumLetters: maximumLetters) }
        }
        #expect(problem([])?.message.contains("is empty") == true)
        #expect(problem(Array("\r\n\n \n".utf8))?.code == .noSamples)
        #expect(problem(Array("abc\n".utf8), 2)?.message.contains("no word to use: 1 too long") == true)
        // ISO-8859-1.
        let latin = problem(Array("abc\nna".utf8) + [0xEF, 0x76, 0x65, 0x0A])
        #expect(latin?.code == .malformedFile && latin?.message.contains("line 2 is not UTF-8") == true)
        #expect(problem(Array("abc\n".utf8), 0)?.code == .invalidOption)
        let missing = #expect(throws: DatasetError.self) { try WordList(path: "/nowhere/words", maximumLetters: 5) }
        #expect(missing?.code == .missingFile)
        for other in ["/dev/zero", "/"] {
            let error = #expect(throws: DatasetError.self) { try WordList(path: other, maximumLetters: 5) }
            #expect(error?.code == .unreadableFile)
        }
    }

    private static let words =
        ["naïve", "I", "W", "l", "garçon", "Straße", "counterclaims"]
        + (0..<26).flatMap { first in
            (0..<4).map { "\(UnicodeScalar(UInt8(97 + first)))\(UnicodeScalar(UInt8(97 + $0)))ing" }
        }

    private func recipe(_ words: WordList) -> GlyphRecipe {
        var recipe = GlyphRecipe(words: words)
        (recipe.imageSize, recipe.imageWidth, recipe.emSize) = (24, 48, 21)
        recipe.heldOutCount = 10
        return recipe
    }

    @Test(.enabled(if: installedFaces >= 8, "install the fonts that GlyphFont.latin lists"))
    func wordsAreClasses() throws {
        let folder = try TemporaryFolder()
        // No Latin font has the last one.
        let words = try list(Array((Self.words + ["\u{13000}\u{13001}"]).joined(separator: "\n").utf8))
        var reports: [String] = []
        let cache = try GlyphCache.open(
            path: folder.path + "/words.cache", recipe: recipe(words), words: words,
            parallel: ParallelBlocks(threads: 2)
        ) { reports.append($0) }
        #expect(reports.contains("words left out: 1 that fewer than 4 fonts can draw"))
        let (training, heldOut) = (cache.training, try #require(cache.heldOut))
        #expect(training.classCount == Self.words.count - 10 && heldOut.classCount == 10)
        #expect(training.imageShape == ImageShape(channels: 1, height: 24, width: 48))
        #expect(Set(cache.record.words ?? []) == Set(Self.words))
        for set in [training, heldOut] {
            var images: [Int: Set<[UInt8]>] = [:]
            for index in 0..<set.sampleCount {
                let pixels = try set.pixels(of: index)
                #expect(pixels.contains { $0 > 100 } && pixels.contains(0), "\(set.origin(of: index)) is blank")
                images[set.label(of: index), default: []].insert(pixels)
            }
            // Faces differ, and so do words.
            for (label, found) in images { #expect(found.count >= 4, "\(set.name(of: label))") }
            for (label, found) in images {
                for (other, others) in images where other < label { #expect(found.isDisjoint(with: others)) }
            }
        }
        // Other threads give the same file; a longer list keeps the sizes, and is another recipe.
        let again = folder.path + "/again.cache"
        _ = try GlyphCache.open(path: again, recipe: recipe(words), words: words, parallel: ParallelBlocks(threads: 1))
        #expect(FileManager.default.contentsEqual(atPath: cache.path, andPath: again))
        let longer = try list(Array((Self.words + ["extra"]).joined(separator: "\n").utf8))
        let error = #expect(throws: DatasetError.self) {
            try GlyphCache.open(
                path: again, recipe: recipe(longer), words: longer, parallel: ParallelBlocks(threads: 1))
        }
        #expect(error?.code == .otherRecipe)
    }

    @Test(.enabled(if: installedFaces >= 8, "install the fonts that GlyphFont.latin lists"))
    func tooFewWordsAreRefused() throws {
        let folder = try TemporaryFolder()
        let words = try list(Array("one\ntwo\nthree\n".utf8))
        let error = #expect(throws: DatasetError.self) {
            try GlyphCache.open(
                path: folder.path + "/w.cache", recipe: recipe(words), words: words,
                parallel: ParallelBlocks(threads: 1))
        }
        #expect(error?.code == .noSamples && error?.message.contains("only 3 words") == true)
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/w.cache"))
    }

    /// Every image has one label. Of 40 classes 10 are split; a fifth of the images has another's label.
    @Test(.enabled(if: GlyphRecipe().installedFonts().count >= 8, "install the fonts that GlyphFont.standard lists"))
    func labelsAreWrongOnPurpose() throws {
        let folder = try TemporaryFolder()
        func cache(_ name: String, _ change: (inout GlyphRecipe) -> Void) throws -> GlyphCache {
            var recipe = GlyphRecipe()
            (recipe.classCount, recipe.heldOutCount, recipe.codePoints) = (40, 10, 0x4E00..<0x4F00)
            change(&recipe)
            return try GlyphCache.open(
                path: folder.path + "/" + name, recipe: recipe, parallel: ParallelBlocks(threads: 2))
        }
        func images(_ set: GlyphDataset) throws -> [[UInt8]: String] {
            try Dictionary(
                uniqueKeysWithValues: (0..<set.sampleCount).map {
                    (try set.pixels(of: $0), set.name(of: set.label(of: $0)))
                })
        }
        let right = try cache("right") { _ in }
        let truth = try images(right.training)
        let split = try cache("split") { $0.splitClasses = 0.25 }
        try #require(split.training.classCount == 50)
        #expect(try images(split.training) == truth)
        #expect(try images(try #require(split.heldOut)) == images(try #require(right.heldOut)))
        let sizes = split.training.samplesPerClass()
        #expect((40..<50).allSatisfy { sizes[$0] ?? 0 > 2 })
        let swapped = try cache("swapped") { $0.swappedLabels = 0.2 }
        let labels = try images(swapped.training)
        let wrong = labels.filter { truth[$0.key] != $0.value }.count
        let fraction = Double(wrong) / Double(truth.count)
        #expect(labels.count == truth.count && fraction > 0.17 && fraction <= 0.2)
        #expect(swapped.training.samplesPerClass() == right.training.samplesPerClass())
        #expect(try images(try #require(swapped.heldOut)) == images(try #require(right.heldOut)))
    }
}
