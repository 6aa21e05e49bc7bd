public import Dataset
internal import Determinism

extension VerificationSet {
    /// Chooses `pairsPerKind` pairs of the same identity and as many of different ones from a data set, a function of `seed`.
    ///
    /// The identities are dealt into `folds` folds and both images of a pair come from one fold, so that no identity is in
    /// two folds. No pair is chosen twice. A fold whose identities do not have enough different pairs gives fewer.
    ///
    /// - Throws: `DatasetError` (`invalidOption`) if there are fewer than 2 × folds identities with two images.
    public init(
        heldOut dataset: any ImageDataset, pairsPerKind: Int, seed: UInt64, flips: Bool, folds: Int = 10,
        name: String = "held-out"
    ) throws(DatasetError) {
        var members = [[Int]](repeating: [], count: dataset.classCount)
        for index in 0..<dataset.sampleCount { members[dataset.label(of: index)].append(index) }
        let identities = members.indices.filter { members[$0].count >= 2 }
        guard folds > 0, identities.count >= 2 * folds, pairsPerKind >= folds else {
            throw DatasetError(
                .invalidOption,
                "\(pairsPerKind) pairs in \(folds) folds need at least \(2 * folds) identities with two images; there are "
                    + "\(identities.count)")
        }
        let permutation = IndexPermutation(count: identities.count, seed: seed, purpose: .verificationPairs, word: 0)
        let shuffled = identities.indices.map { identities[permutation[$0]] }
        var pairs: [VerificationPair] = []
        for fold in 0..<folds {
            let own = Array(shuffled[identities.count * fold / folds..<identities.count * (fold + 1) / folds])
            let wanted = pairsPerKind * (fold + 1) / folds - pairsPerKind * fold / folds
            for same in [true, false] {
                var random = KeyedRandom(seed: seed, purpose: .verificationPairs, 1, UInt64(fold), same ? 1 : 0)
                var chosen: Set<[Int]> = []
                // Bounded: where few pairs exist, most draws repeat one.
                for _ in 0..<wanted * 50 where chosen.count < wanted {
                    let a = Int(random.below(UInt64(own.count)))
                    // Another identity, or the same; in both cases a uniform choice.
                    let b = same ? a : (a + 1 + Int(random.below(UInt64(own.count - 1)))) % own.count
                    let first = members[own[a]][Int(random.below(UInt64(members[own[a]].count)))]
                    let second = members[own[b]][Int(random.below(UInt64(members[own[b]].count)))]
                    guard first != second, chosen.insert([min(first, second), max(first, second)]).inserted else {
                        continue
                    }
                    pairs.append(VerificationPair(first: first, second: second, same: same, fold: fold))
                }
            }
        }
        self.init(name: name, images: dataset, pairs: pairs, flips: flips)
    }
}
