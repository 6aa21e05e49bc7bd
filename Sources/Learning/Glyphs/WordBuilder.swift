internal import CFreeType
internal import Dataset
internal import Determinism
internal import Foundation

/// Chooses the words of a recipe and renders their images, a block of words at a time: a set can be larger than memory.
struct WordBuilder {
    let recipe: GlyphRecipe
    let list: WordList
    let fonts: [GlyphFont]
    let parallel: ParallelBlocks

    /// One renderer per face. Each is used by one thread at a time.
    private final class Renderers: @unchecked Sendable {
        let faces: [GlyphRenderer]
        init(_ faces: [GlyphRenderer]) { self.faces = faces }
    }

    /// Where the images of a block are drawn, each by one thread.
    private struct Pixels: @unchecked Sendable {
        let buffer: UnsafeMutableBufferPointer<UInt8>
    }

    /// Writes the file at `path`, and says to `report` how many words were left out and why.
    ///
    /// - Throws: `DatasetError` if a face cannot be opened, too few words can be drawn, or the file cannot be written.
    func build(path: String, report: (String) -> Void) throws(DatasetError) {
        let recipe = recipe
        let renderers = Renderers(
            try Faces(fonts, parallel).map { (font) throws(DatasetError) in
                try GlyphRenderer(font: font, recipe: recipe)
            })
        let words = list.words.map { $0.unicodeScalars.map(\.value) }
        let letters = Set(words.lazy.flatMap { $0 }).sorted()
        let drawn = renderers.faces.map { $0.drawn(of: letters) }
        func faces(_ word: Int) -> [Int] { drawn.indices.filter { drawn[$0].isSuperset(of: words[word]) } }
        let usable = words.indices.filter { faces($0).count >= recipe.minimumImages }
        var omitted = [list.omitted.description].filter { !$0.isEmpty }
        if usable.count < words.count {
            omitted.append("\(words.count - usable.count) that fewer than \(recipe.minimumImages) fonts can draw")
        }
        if !omitted.isEmpty { report("words left out: \(omitted.joined(separator: ", "))") }
        let plan = try plan(usable, faces)
        let record = GlyphRecord(
            recipe: recipe, fonts: GlyphRecord.Font.installed(fonts, renderers.faces.map(\.description)),
            freeTypeVersion: Int(pfc_freetype_version()), characters: [],
            words: plan.classes.map { list.words[$0] }, heldOutCount: plan.heldOutCount)
        try GlyphCacheWriter.write(plan, as: record, to: path) { images(of: Array($0), words, renderers) }
    }

    /// Which words are classes: held-out ones are chosen first, so that they are the same for any number of others.
    private func plan(_ usable: [Int], _ faces: (Int) -> [Int]) throws(DatasetError) -> GlyphPlan {
        let needed = max(1, recipe.classCount) + recipe.heldOutCount
        guard usable.count >= needed else {
            throw DatasetError(
                .noSamples,
                "only \(usable.count) words can be drawn by \(recipe.minimumImages) fonts or more, but \(needed) are wanted, "
                    + "\(recipe.heldOutCount) of them held out: use a longer list, hold out fewer (--held-out)\(recipe.moreFonts)"
            )
        }
        let permutation = IndexPermutation(count: usable.count, seed: recipe.seed, purpose: .heldOutSplit, word: 3)
        let count = recipe.classCount == 0 ? usable.count : needed
        let chosen = (0..<count).map { usable[permutation[$0]] }
        var plan = GlyphPlan(
            training: chosen[recipe.heldOutCount...].sorted(), heldOut: chosen[..<recipe.heldOutCount].sorted(),
            faces: faces)
        plan.makeWrong(by: recipe)
        return plan
    }

    /// The images of some samples, faces in parallel.
    private func images(of samples: [GlyphSample], _ words: [[UInt32]], _ renderers: Renderers) -> Data {
        let size = recipe.imageShape.count
        var data = Data(count: samples.count * size)
        data.withUnsafeMutableBytes { bytes in
            let pixels = Pixels(buffer: bytes.assumingMemoryBound(to: UInt8.self))
            parallel.forEach(renderers.faces.count) { face, _ in
                for (index, sample) in samples.enumerated() where Int(sample.face) == face {
                    let place = pixels.buffer[index * size..<(index + 1) * size]
                    renderers.faces[face].draw(words[sample.source], into: UnsafeMutableBufferPointer(rebasing: place))
                }
            }
        }
        return data
    }
}
