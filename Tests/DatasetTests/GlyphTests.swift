import Dataset
import Determinism
import Foundation
import Glyphs
import TestSupport
import Testing

private let installedFaces = GlyphRecipe().installedFonts().count

private func smallRecipe() -> GlyphRecipe {
    var recipe = GlyphRecipe()
    recipe.classCount = 40
    recipe.heldOutCount = 10
    recipe.codePoints = 0x4E00..<0x4F00
    return recipe
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct GlyphTests {
    @Test(.enabled(if: installedFaces >= 8, "install the fonts that GlyphFont.standard lists"))
    func cacheRoundTrip() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/glyphs.cache"
        let cache = try GlyphCache.open(path: path, recipe: smallRecipe(), parallel: ParallelBlocks(threads: 2))
        let training = cache.training
        let heldOut = try #require(cache.heldOut)
        #expect(training.classCount == 40 && heldOut.classCount == 10)
        #expect(Set(cache.record.characters).count == 50)
        #expect(training.samplesPerClass().values.count { $0 >= 8 } == 40)
        #expect(heldOut.samplesPerClass().values.count { $0 >= 8 } == 10)
        for set in [training, heldOut] {
            var images: [Int: Set<[UInt8]>] = [:]
            for index in 0..<set.sampleCount {
                let pixels = try set.pixels(of: index)
                #expect(pixels.contains { $0 > 100 } && pixels.contains(0), "\(set.origin(of: index)) is blank")
                #expect(
                    images[set.label(of: index), default: []].insert(pixels).inserted,
                    "\(set.origin(of: index)) is a duplicate")
            }
        }
        // Rendering again, with other threads, gives the same file; opening it again builds nothing.
        let again = folder.path + "/again.cache"
        _ = try GlyphCache.open(path: again, recipe: smallRecipe(), parallel: ParallelBlocks(threads: 1))
        #expect(FileManager.default.contentsEqual(atPath: path, andPath: again))
        var reports: [String] = []
        let reopened = try GlyphCache.open(path: path, recipe: smallRecipe(), parallel: ParallelBlocks(threads: 1)) {
            reports.append($0)
        }
        #expect(reports.isEmpty && reopened.training.fingerprint == training.fingerprint)
        var other = smallRecipe()
        other.heldOutCount = 12
        // A run may train on the file: it is not overwritten by another recipe.
        let error = #expect(throws: DatasetError.self) {
            try GlyphCache.open(path: path, recipe: other, parallel: ParallelBlocks(threads: 2)) { reports.append($0) }
        }
        #expect(error?.code == .otherRecipe && error?.message.contains("10 characters held out instead of 12") == true)
        let directory = #expect(throws: DatasetError.self) {
            try GlyphCache.open(path: folder.path, recipe: other, parallel: ParallelBlocks(threads: 2)) {
                reports.append($0)
            }
        }
        #expect(directory?.message.contains("is a directory") == true)
        #expect(reports.isEmpty && FileManager.default.contentsEqual(atPath: path, andPath: again))
    }

    @Test(.enabled(if: installedFaces >= 8, "install the fonts that GlyphFont.standard lists"))
    func damageIsFound() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/glyphs.cache"
        var recipe = smallRecipe()
        recipe.classCount = 2
        recipe.heldOutCount = 1
        _ = try GlyphCache.open(path: path, recipe: recipe, parallel: ParallelBlocks(threads: 2))
        let whole = [UInt8](try #require(FileManager.default.contents(atPath: path)))
        for position in stride(from: 0, to: whole.count, by: 97) {
            var damaged = whole
            damaged[position] ^= 0x10
            try Data(damaged).write(to: URL(fileURLWithPath: path))
            #expect(throws: DatasetError.self, "byte \(position)") { try GlyphCache(path: path) }
            try Data(whole[..<position]).write(to: URL(fileURLWithPath: path))
            #expect(throws: DatasetError.self, "length \(position)") { try GlyphCache(path: path) }
        }
        // Asking for the recipe builds a damaged file again.
        _ = try GlyphCache.open(path: path, recipe: recipe, parallel: ParallelBlocks(threads: 2))
        #expect(FileManager.default.contents(atPath: path) == Data(whole))
    }

    @Test func missingFontsNameThePackages() throws {
        var recipe = GlyphRecipe()
        recipe.fonts = (0..<9).map { GlyphFont(package: "fonts-nowhere-\($0 % 2)", path: "/nowhere/\($0).ttf") }
        let folder = try TemporaryFolder()
        let error = try #require(throws: DatasetError.self) {
            try GlyphCache.open(
                path: folder.path + "/glyphs.cache", recipe: recipe, parallel: ParallelBlocks(threads: 1))
        }
        #expect(error.code == .missingFonts)
        #expect(error.message.contains("apt-get install fonts-nowhere-0 fonts-nowhere-1"))
    }

    @Test(.enabled(if: installedFaces >= 8, "install the fonts that GlyphFont.standard lists"))
    func impossibleRecipesAreRefused() throws {
        let folder = try TemporaryFolder()
        for change: (inout GlyphRecipe) -> Void in [
            { $0.imageSize = 0 }, { $0.emSize = 99 }, { $0.classCount = 0 }, { $0.minimumImages = 99 },
            { $0.characters = [0x4E00, 0x4E00] }, { $0.characters = [0xE000] }, { $0.classCount = 5000 },
        ] {
            var recipe = smallRecipe()
            change(&recipe)
            #expect(throws: DatasetError.self) {
                try GlyphCache.open(
                    path: folder.path + "/g.cache", recipe: recipe, parallel: ParallelBlocks(threads: 1))
            }
        }
    }
}
