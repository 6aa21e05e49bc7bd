internal import CFreeType
internal import Dataset
internal import Determinism
internal import Foundation

/// Chooses the characters of a recipe and renders their images.
struct GlyphBuilder {
    let recipe: GlyphRecipe
    let fonts: [GlyphFont]
    let parallel: ParallelBlocks

    /// What one face has of some characters: present[i] tells whether image i is there.
    private struct Rendered {
        var present: [Bool] = []
        var images: [UInt8] = []
    }

    /// Writes the file at `path`.
    ///
    /// - Throws: `DatasetError` if a face cannot be opened, too few characters are covered, or the file cannot be written.
    func build(path: String) throws(DatasetError) {
        let coverage = try forEachFace { renderer in
            (recipe.allCodePoints.flatMap(renderer.characters), renderer.description)
        }
        var counts: [UInt32: Int] = [:]
        for (characters, _) in coverage { for character in characters { counts[character, default: 0] += 1 } }
        let candidates = candidates(counts)
        let pixels = recipe.imageShape.count
        let rendered = try forEachFace { renderer in
            var result = Rendered(present: [], images: [UInt8](repeating: 0, count: candidates.count * pixels))
            for (index, character) in candidates.enumerated() {
                let image = renderer.image(of: character)
                result.present.append(image != nil)
                if let image { result.images.replaceSubrange(index * pixels..<(index + 1) * pixels, with: image) }
            }
            return result
        }
        let distinct = candidates.indices.map { distinctFaces(of: $0, in: rendered, pixels: pixels) }
        let chosen = try choose(candidates, distinct.map(\.count))
        var plan = GlyphPlan(training: chosen.training, heldOut: chosen.heldOut) { distinct[$0] }
        plan.makeWrong(by: recipe)
        let record = GlyphRecord(
            recipe: recipe, fonts: GlyphRecord.Font.installed(fonts, coverage.map { $0.1 }),
            freeTypeVersion: Int(pfc_freetype_version()), characters: plan.classes.map { candidates[$0] },
            heldOutCount: plan.heldOutCount)
        try GlyphCacheWriter.write(plan, as: record, to: path) { samples in
            var images = Data()
            for sample in samples {
                let range = sample.source * pixels..<(sample.source + 1) * pixels
                images.append(contentsOf: rendered[Int(sample.face)].images[range])
            }
            return images
        }
    }

    /// Characters worth rendering: the listed ones, and the best covered ones with a tenth to spare.
    private func candidates(_ counts: [UInt32: Int]) -> [UInt32] {
        let listed = recipe.characters ?? []
        let number = (recipe.characters == nil ? recipe.classCount : 0) + recipe.heldOutCount
        let known = Set(listed)
        let ranked = counts.filter { $0.value >= recipe.minimumImages && !known.contains($0.key) }
            .map { (count: $0.value, tie: tie($0.key), character: $0.key) }
            .sorted { ($1.count, $0.tie, $0.character) < ($0.count, $1.tie, $1.character) }
        return listed + ranked.prefix(number + number / 10 + 10).map(\.character)
    }

    private func tie(_ character: UInt32) -> UInt64 {
        var random = KeyedRandom(seed: recipe.seed, purpose: .heldOutSplit, 1, UInt64(character))
        return random.next()
    }

    /// The faces that draw candidate `index`, without those that draw exactly what an earlier one did.
    private func distinctFaces(of index: Int, in rendered: [Rendered], pixels: Int) -> [Int] {
        var faces: [Int] = []
        let range = index * pixels..<(index + 1) * pixels
        for face in rendered.indices where rendered[face].present[index] {
            let image = rendered[face].images[range]
            if !faces.contains(where: { rendered[$0].images[range] == image }) { faces.append(face) }
        }
        return faces
    }

    /// Indices of the candidates to train on and to hold out, each in ascending order of character.
    private func choose(
        _ candidates: [UInt32], _ images: [Int]
    ) throws(DatasetError) -> (training: [Int], heldOut: [Int]) {
        let listed = recipe.characters?.count ?? 0
        for index in 0..<listed where images[index] < recipe.minimumImages {
            throw DatasetError(
                .invalidOption,
                "character U+\(String(candidates[index], radix: 16, uppercase: true)) of the recipe has \(images[index]) "
                    + "images with the fonts that are installed; it needs \(recipe.minimumImages)")
        }
        let needed = (recipe.characters == nil ? recipe.classCount : 0) + recipe.heldOutCount
        let usable = candidates.indices.dropFirst(listed).filter { images[$0] >= recipe.minimumImages }
        guard usable.count >= needed else {
            throw DatasetError(
                .invalidOption,
                "only \(usable.count) characters have \(recipe.minimumImages) different images or more, but \(needed) are wanted, "
                    + "\(recipe.heldOutCount) of them held out: ask for fewer (--classes, --held-out)\(recipe.moreFonts)"
            )
        }
        let pool = Array(usable.prefix(needed))
        var heldOut: Set<Int> = []
        if recipe.heldOutCount > 0 {
            let permutation = IndexPermutation(count: pool.count, seed: recipe.seed, purpose: .heldOutSplit, word: 2)
            heldOut = Set((0..<recipe.heldOutCount).map { pool[permutation[$0]] })
        }
        let training = Array(0..<listed) + pool.filter { !heldOut.contains($0) }
        func ascending(_ indices: [Int]) -> [Int] { indices.sorted { candidates[$0] < candidates[$1] } }
        return (ascending(training), ascending(Array(heldOut)))
    }

    /// One value per face, faces in parallel.
    private func forEachFace<Value: Sendable>(
        _ body: @Sendable (GlyphRenderer) -> Value
    ) throws(DatasetError) -> [Value] {
        let recipe = recipe
        return try Faces(fonts, parallel).map { (font) throws(DatasetError) in
            body(try GlyphRenderer(font: font, recipe: recipe))
        }
    }
}
