internal import CFreeType
public import Dataset
public import Determinism
internal import Foundation
internal import ProcessSupport

extension GlyphCache {
    /// Opens the file at `path` if it was made from `recipe`; builds it if there is none, or if it is damaged.
    ///
    /// A sound file is never overwritten, because a run may train on it: one of another recipe is an error, and one that was drawn
    /// with other fonts or another FreeType is taken as it is, with a line to `report`.
    /// The file is written under another name and renamed. Processes that want it at the same time wait for one to build it.
    ///
    /// - Parameters:
    ///   - words: the list that the recipe names, if it names one.
    ///   - parallel: the threads that render.
    ///   - report: receives a line about what is built and which packages would add faces.
    /// - Throws: `DatasetError` (`missingFonts`, with the packages to install) if fewer than `recipe.minimumImages` faces are
    ///   there; `otherRecipe` if the file is of another recipe; other codes if characters do not suffice or the file cannot be
    ///   written.
    public static func open(
        path: String, recipe: GlyphRecipe, words: WordList? = nil, parallel: ParallelBlocks,
        report: (String) -> Void = { _ in }
    ) throws(DatasetError) -> GlyphCache {
        try recipe.validate()
        guard recipe.words == words?.recipe else {
            throw DatasetError(.invalidOption, "glyph recipe: the list of words is not the one that the recipe names")
        }
        // Before half a minute of rendering is lost.
        var isDirectory: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
            throw DatasetError(
                .unwritableFile, path: path, "is a directory; name the file to write, such as \(path)/glyphs.cache")
        }
        let lock = try FileLock(path: path + ".lock")
        defer { withExtendedLifetime(lock) {} }
        let fonts = recipe.installedFonts()
        let version = Int(pfc_freetype_version())
        if let cache = try? GlyphCache(path: path) {
            if let difference = recipe.difference(from: cache.record.recipe) {
                throw DatasetError(
                    .otherRecipe, path: path,
                    "was made with \(difference). It is kept, because a run may train on it: write to another file, or delete this one"
                )
            }
            let drawnAlike =
                cache.record.freeTypeVersion == version && cache.record.fonts.map(\.font) == fonts
                && cache.record.fonts.map(\.byteCount) == fonts.map({ GlyphRecord.Font.byteCount($0) })
            if !drawnAlike {
                report(
                    "\(path) was drawn with other fonts or another FreeType than are installed here. It is used as it is; delete it to have it drawn again"
                )
            }
            return cache
        }
        try expectNothingElse(at: path)
        let missing = recipe.missingPackages()
        let advice = "apt-get install \(missing.joined(separator: " "))"
        guard fonts.count >= recipe.minimumImages else {
            throw DatasetError(
                .missingFonts,
                "\(fonts.count) of the recipe's \(recipe.fonts.count) font faces are installed, at least \(recipe.minimumImages) "
                    + "are needed: \(advice)")
        }
        report("rendering glyphs with \(fonts.count) font faces" + (missing.isEmpty ? "" : "; for more: \(advice)"))
        if let words {
            try WordBuilder(recipe: recipe, list: words, fonts: fonts, parallel: parallel).build(
                path: path, report: report)
        } else {
            try GlyphBuilder(recipe: recipe, fonts: fonts, parallel: parallel).build(path: path)
        }
        return try GlyphCache(path: path)
    }
}

extension GlyphCache {
    /// Whatever is no cache, damaged or not, is somebody else's and stays.
    private static func expectNothingElse(at path: String) throws(DatasetError) {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        guard let attributes else { return }
        let isFile = attributes[.type] as? FileAttributeType == .typeRegular
        let start = isFile ? try? FileHandle(forReadingAtPath: path)?.read(upToCount: GlyphCacheFile.magic.count) : nil
        guard start.map(Array.init) == GlyphCacheFile.magic else {
            throw DatasetError(
                .otherRecipe, path: path,
                "is there and is no glyph cache. It is kept: write to another file, or delete this one")
        }
    }
}

extension GlyphRecord.Font {
    /// Faces that are installed, as a record names them.
    static func installed(_ fonts: [GlyphFont], _ descriptions: [String]) -> [Self] {
        zip(fonts, descriptions).map { Self(font: $0, description: $1, byteCount: byteCount($0)) }
    }

    static func byteCount(_ font: GlyphFont) -> Int {
        (try? FileManager.default.attributesOfItem(atPath: font.path))?[.size] as? Int ?? -1
    }
}
