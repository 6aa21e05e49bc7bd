internal import Dataset
internal import Determinism

/// Labels that are wrong on purpose, as in sets of faces from the web: two people in one folder, and one person in two (An et al.,
/// arXiv 2203.15565, section 3). Held-out classes stay as they are.
extension GlyphPlan {
    /// Makes the labels wrong that a recipe wants to be wrong.
    mutating func makeWrong(by recipe: GlyphRecipe) {
        splitClasses(recipe.splitClasses ?? 0, seed: recipe.seed)
        swapLabels(recipe.swappedLabels ?? 0, seed: recipe.seed)
    }

    /// Splits a fraction of the classes to train on in two. Every second image goes to a new class, after all others to train on.
    mutating func splitClasses(_ fraction: Double, seed: UInt64) {
        let training = classes.count - heldOutCount
        let count = Int((fraction * Double(training)).rounded())
        guard count > 0 else { return }
        let permutation = IndexPermutation(count: training, seed: seed, purpose: .heldOutSplit, word: 4)
        var second: [Int32: Int32] = [:]
        let chosen = (0..<count).map { permutation[$0] }.sorted()
        for (place, label) in chosen.enumerated() { second[Int32(label)] = Int32(training + place) }
        var seen: [Int32: Int] = [:]
        for index in samples.indices {
            let label = samples[index].label
            if label >= training {
                samples[index].label += Int32(count)
            } else if let half = second[label] {
                if seen[label, default: 0] % 2 == 1 { samples[index].label = half }
                seen[label, default: 0] += 1
            }
        }
        classes.insert(contentsOf: chosen.map { classes[$0] }, at: training)
        sort()
    }

    /// Gives a fraction of the images to train on the labels of each other, in one cycle. No class gains or loses an image.
    mutating func swapLabels(_ fraction: Double, seed: UInt64) {
        let held = Int32(classes.count - heldOutCount)
        let training = samples.firstIndex { $0.label >= held } ?? samples.count
        let count = Int((fraction * Double(training)).rounded())
        guard count > 1 else { return }
        let permutation = IndexPermutation(count: training, seed: seed, purpose: .heldOutSplit, word: 5)
        let first = samples[permutation[0]].label
        for place in 0..<count {
            samples[permutation[place]].label = place + 1 < count ? samples[permutation[place + 1]].label : first
        }
        sort()
    }

    /// By label; images of one label stay in their order.
    private mutating func sort() {
        let order = samples.indices.sorted { (samples[$0].label, $0) < (samples[$1].label, $1) }
        samples = order.map { samples[$0] }
    }
}
