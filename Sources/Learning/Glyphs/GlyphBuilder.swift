internal import Dataset
internal import Determinism
internal import Foundation

/// Renders the images of a recipe and chooses its characters.
struct GlyphBuilder {
    let recipe: GlyphRecipe
    let fonts: [GlyphFont]
    let parallel: ParallelBlocks

    /// What one face has of some characters: present[i] tells whether image i is there.
    private struct Rendered {
        var present: [Bool] = []
        var images: [UInt8] = []
    }

    /// - Throws: `DatasetError` if a face cannot be opened or too few characters are covered.
    func build() throws(DatasetError) -> GlyphImages {
        let coverage = try forEachFace { renderer in (renderer.characters(in: recipe.codePoints), renderer.description)
        }
        var counts: [UInt32: Int] = [:]
        for (characters, _) in coverage { for character in characters { counts[character, default: 0] += 1 } }
        let candidates = candidates(counts)
        let pixels = recipe.imageSize * recipe.imageSize
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
        var glyphs = GlyphImages()
        glyphs.characters = chosen.training.map { candidates[$0] } + chosen.heldOut.map { candidates[$0] }
        glyphs.heldOutCount = chosen.heldOut.count
        glyphs.descriptions = coverage.map { $0.1 }
        for (label, candidate) in (chosen.training + chosen.heldOut).enumerated() {
            for face in distinct[candidate] {
                glyphs.labels.append(Int32(label))
                glyphs.faces.append(Int32(face))
                glyphs.images.append(contentsOf: rendered[face].images[candidate * pixels..<(candidate + 1) * pixels])
            }
        }
        return glyphs
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
                "only \(usable.count) characters have \(recipe.minimumImages) different images or more, but \(needed) are wanted: "
                    + "install more fonts (\(recipe.missingPackages().joined(separator: " "))) or ask for fewer characters"
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
        let results = FaceResults<Value>()
        let (fonts, recipe) = (fonts, recipe)
        parallel.forEach(fonts.count) { block, _ in
            let result: Result<Value, DatasetError>
            do throws(DatasetError) {
                let renderer = try GlyphRenderer(font: fonts[block], imageSize: recipe.imageSize, emSize: recipe.emSize)
                result = .success(body(renderer))
            } catch { result = .failure(error) }
            results.set(block, result)
        }
        var values: [Value] = []
        for block in fonts.indices {
            switch results[block] {
            case .success(let value): values.append(value)
            case .failure(let error): throw error
            case nil: throw DatasetError(.missingFonts, path: fonts[block].path, "was not rendered")
            }
        }
        return values
    }
}

/// Results of blocks that finish in any order.
private final class FaceResults<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var values: [Int: Result<Value, DatasetError>] = [:]

    func set(_ block: Int, _ value: Result<Value, DatasetError>) { lock.withLock { values[block] = value } }
    subscript(block: Int) -> Result<Value, DatasetError>? { lock.withLock { values[block] } }
}
