internal import CFreeType
public import Determinism
internal import Foundation

/// A glyph data set in one file, mapped into memory.
public final class GlyphCache: Sendable {
    public let path: String
    /// What the file was made from.
    public let record: GlyphRecord
    let imageSize: Int
    let sampleCount: Int
    let fingerprint: UInt64
    private let data: Data
    private let layout: GlyphCacheFile.Layout

    /// Maps and checks the file at `path`.
    ///
    /// - Throws: `DatasetError` if it is missing, of another format or version, truncated or damaged.
    public init(path: String) throws(DatasetError) {
        func fail(_ problem: String) -> DatasetError {
            DatasetError(.damagedCache, path: path, "\(problem); delete the file to have it built again")
        }
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped) else {
            throw DatasetError(.missingFile, path: path, "cannot be read")
        }
        func field<Value: FixedWidthInteger>(_ offset: Int, _ type: Value.Type) -> Value {
            data.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Value.self)) }
        }
        guard data.count >= GlyphCacheFile.headerByteCount, data.starts(with: GlyphCacheFile.magic) else {
            throw fail("is not a glyph cache")
        }
        let version = field(8, UInt32.self)
        guard version == GlyphCacheFile.version else {
            throw fail("is a glyph cache of version \(version), not \(GlyphCacheFile.version)")
        }
        let json = Int(clamping: field(24, UInt64.self))
        guard
            let layout = GlyphCacheFile.Layout(
                json: json, samples: Int(clamping: field(16, UInt64.self)), imageSize: Int(field(12, UInt32.self))),
            layout.end == data.count
        else { throw fail("is \(data.count) bytes long, which its header contradicts: truncated") }
        let stored = field(32, UInt64.self)
        guard data.withUnsafeBytes({ GlyphCacheFile.checksum($0) }) == stored else {
            throw fail("has a wrong checksum")
        }
        let start = GlyphCacheFile.headerByteCount
        guard let record = try? JSONDecoder().decode(GlyphRecord.self, from: data[start..<start + json]) else {
            throw fail("has a record that is not the JSON of this version")
        }
        self.path = path
        self.record = record
        self.data = data
        self.layout = layout
        imageSize = Int(field(12, UInt32.self))
        sampleCount = Int(field(16, UInt64.self))
        fingerprint = stored
        let classCount = record.characters.count
        guard record.heldOutCount >= 0, record.heldOutCount < classCount, record.recipe.imageSize == imageSize else {
            throw fail("has a record that contradicts its header")
        }
        var previous = 0
        for index in 0..<sampleCount {
            let (label, face) = (self.label(of: index), self.face(of: index))
            guard label >= previous, label < classCount, record.fonts.indices.contains(face) else {
                throw fail("has label \(label) and face \(face) at sample \(index)")
            }
            previous = label
        }
    }

    /// Opens the file at `path` if it was made from `recipe`; builds it if there is none, or if it is damaged.
    ///
    /// A sound file is never overwritten, because a run may train on it: one of another recipe is an error, and one that was drawn
    /// with other fonts or another FreeType is taken as it is, with a line to `report`.
    /// The file is written under another name and renamed. Processes that want it at the same time wait for one to build it.
    ///
    /// - Parameters:
    ///   - parallel: the threads that render.
    ///   - report: receives a line about what is built and which packages would add faces.
    /// - Throws: `DatasetError` (`missingFonts`, with the packages to install) if fewer than `recipe.minimumImages` faces are
    ///   there; `otherRecipe` if the file is of another recipe; other codes if characters do not suffice or the file cannot be
    ///   written.
    public static func open(
        path: String, recipe: GlyphRecipe, parallel: ParallelBlocks, report: (String) -> Void = { _ in }
    ) throws(DatasetError) -> GlyphCache {
        try recipe.validate()
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
                && cache.record.fonts.map(\.byteCount) == fonts.map({ fileByteCount($0.path) })
            if !drawnAlike {
                report(
                    "\(path) was drawn with other fonts or another FreeType than are installed here. It is used as it is; delete it to have it drawn again"
                )
            }
            return cache
        }
        let missing = recipe.missingPackages()
        let advice = "apt-get install \(missing.joined(separator: " "))"
        guard fonts.count >= recipe.minimumImages else {
            throw DatasetError(
                .missingFonts,
                "\(fonts.count) of the recipe's \(recipe.fonts.count) font faces are installed, at least \(recipe.minimumImages) "
                    + "are needed: \(advice)")
        }
        report("rendering glyphs with \(fonts.count) font faces" + (missing.isEmpty ? "" : "; for more: \(advice)"))
        let glyphs = try GlyphBuilder(recipe: recipe, fonts: fonts, parallel: parallel).build()
        let record = GlyphRecord(
            recipe: recipe,
            fonts: zip(fonts, glyphs.descriptions).map {
                GlyphRecord.Font(font: $0, description: $1, byteCount: fileByteCount($0.path))
            },
            freeTypeVersion: version, characters: glyphs.characters, heldOutCount: glyphs.heldOutCount)
        do {
            try GlyphCacheFile.bytes(record: record, glyphs: glyphs).write(
                to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw DatasetError(.unwritableFile, path: path, "cannot be written: \(error.localizedDescription)")
        }
        return try GlyphCache(path: path)
    }

    /// The classes to train on.
    public var training: GlyphDataset {
        GlyphDataset(cache: self, classes: 0..<record.characters.count - record.heldOutCount)
    }

    /// The classes never trained on, or nil if the recipe holds out none.
    public var heldOut: GlyphDataset? {
        record.heldOutCount == 0
            ? nil
            : GlyphDataset(
                cache: self, classes: record.characters.count - record.heldOutCount..<record.characters.count)
    }

    func label(of index: Int) -> Int { int32(layout.labels, index) }
    func face(of index: Int) -> Int { int32(layout.faces, index) }

    func copyImage(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) {
        precondition(index >= 0 && index < sampleCount, "sample \(index) of \(sampleCount)")
        let start = layout.images + index * imageSize * imageSize
        data.copyBytes(to: pixels, from: start..<start + imageSize * imageSize)
    }

    private func int32(_ part: Int, _ index: Int) -> Int {
        precondition(index >= 0 && index < sampleCount, "sample \(index) of \(sampleCount)")
        return data.withUnsafeBytes {
            Int(Int32(littleEndian: $0.loadUnaligned(fromByteOffset: part + 4 * index, as: Int32.self)))
        }
    }

    private static func fileByteCount(_ path: String) -> Int {
        (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int ?? -1
    }
}
