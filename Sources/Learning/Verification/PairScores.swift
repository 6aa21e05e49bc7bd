/// Similarities of pairs, and what follows from them.
public struct PairScores: Sendable {
    /// Similarity of each pair: cosine of the embeddings.
    public var scores: [Double]
    public var same: [Bool]
    /// Fold of each pair.
    public var folds: [Int]

    /// All three arrays have one element per pair.
    public init(scores: [Double], same: [Bool], folds: [Int]) {
        precondition(scores.count == same.count && same.count == folds.count, "one score, label and fold per pair")
        self.scores = scores
        self.same = same
        self.folds = folds
    }

    /// Accuracy, rates and curve; none of them if all pairs are of one kind. Scores that are not numbers count as the lowest.
    public func report(name: String, skippedPairs: Int = 0) -> VerificationReport {
        let clean = PairScores(scores: scores.map { $0.isNaN ? -.infinity : $0 }, same: same, folds: folds)
        let rates = [1e-2, 1e-3, 1e-4]
        let samePairs = same.count(where: { $0 })
        guard samePairs > 0, samePairs < scores.count else {
            let reason =
                "all \(scores.count) pairs are of \(samePairs > 0 ? "the same identity" : "different identities"); no figure can be given"
            return VerificationReport(
                name: name, pairCount: scores.count, samePairCount: samePairs,
                operating: rates.map { .init(far: $0, reason: reason) }, roc: [], skippedPairs: skippedPairs,
                reason: reason)
        }
        let perFold = Set(folds).sorted().map { clean.evaluate(fold: $0) }
        let count = Double(max(perFold.count, 1))
        let mean = perFold.reduce(0) { $0 + $1.accuracy } / count
        let variance = perFold.reduce(0) { $0 + ($1.accuracy - mean) * ($1.accuracy - mean) } / count
        let roc = clean.curve()
        return VerificationReport(
            name: name, pairCount: scores.count, samePairCount: samePairs, accuracy: mean,
            accuracyDeviation: variance.squareRoot(),
            threshold: finite(perFold.reduce(0) { $0 + $1.threshold } / count),
            operating: rates.map { clean.operating(far: $0) }, auc: PairScores.area(under: roc), roc: roc,
            skippedPairs: skippedPairs)
    }

    /// The threshold that gives the highest accuracy over `pairs`, where higher scores are accepted: halfway between two
    /// neighbouring scores, or beyond the ends; the lowest of equals.
    static func bestThreshold(_ pairs: [(score: Double, same: Bool)]) -> Double {
        let sorted = pairs.sorted { $0.score < $1.score }
        // Below every score all are accepted: right are the same pairs.
        var right = sorted.count { $0.same }
        var best = right
        var threshold = (sorted.first?.score ?? 0) - 1
        for (index, pair) in sorted.enumerated() {
            right += pair.same ? -1 : 1
            let next = index + 1 < sorted.count ? sorted[index + 1].score : pair.score + 2
            if next > pair.score && right > best {
                best = right
                threshold = (pair.score + next) / 2
            }
        }
        return threshold
    }

    private func evaluate(fold: Int) -> (accuracy: Double, threshold: Double) {
        let inside = scores.indices.filter { folds[$0] == fold }
        let outside = scores.indices.filter { folds[$0] != fold }
        // With one fold there is nothing else to choose the threshold from.
        let training = outside.isEmpty ? inside : outside
        let threshold = Self.bestThreshold(training.map { (scores[$0], same[$0]) })
        let right = inside.count { (scores[$0] > threshold) == same[$0] }
        return (Double(right) / Double(max(inside.count, 1)), threshold)
    }

    /// The highest true accept rate whose false accept rate is at most `far`. With fewer than 1/far different pairs a single
    /// wrong one is more than that: there is no such rate.
    private func operating(far: Double) -> VerificationReport.Operating {
        let different = scores.indices.filter { !same[$0] }.map { scores[$0] }.sorted(by: >)
        let positives = scores.indices.filter { same[$0] }
        let allowed = Int(far * Double(different.count) + 1e-9)
        let threshold = allowed < different.count ? different[allowed] : -Double.infinity
        guard allowed > 0 else {
            return .init(
                far: far, threshold: finite(threshold),
                reason: "\(different.count) different pairs do not resolve a rate below 1/\(different.count)")
        }
        let accepted = positives.count { scores[$0] > threshold }
        return .init(
            far: far, tar: Double(accepted) / Double(max(positives.count, 1)), threshold: finite(threshold))
    }

    /// The corners of the curve: where it turns, from (0, 0) to (1, 1).
    private func curve() -> [VerificationReport.Point] {
        let order = scores.indices.sorted { scores[$0] > scores[$1] }
        let positives = Double(max(same.count { $0 }, 1))
        let negatives = Double(max(same.count { !$0 }, 1))
        var points = [VerificationReport.Point(far: 0, tar: 0)]
        var (accepted, wrong) = (0, 0)
        for (position, index) in order.enumerated() {
            if same[index] { accepted += 1 } else { wrong += 1 }
            let isLastOfScore = position + 1 == order.count || scores[order[position + 1]] != scores[index]
            if !isLastOfScore { continue }
            let point = VerificationReport.Point(far: Double(wrong) / negatives, tar: Double(accepted) / positives)
            if points.count >= 2 {
                let (a, b) = (points[points.count - 2], points[points.count - 1])
                let isOnLine = (a.far == b.far && b.far == point.far) || (a.tar == b.tar && b.tar == point.tar)
                if isOnLine { points.removeLast() }
            }
            points.append(point)
        }
        return points
    }

    private static func area(under points: [VerificationReport.Point]) -> Double {
        zip(points, points.dropFirst()).reduce(0) { $0 + ($1.1.far - $1.0.far) * ($1.1.tar + $1.0.tar) / 2 }
    }
}

/// `value`, or nil if it is infinite or no number, which JSON does not have.
private func finite(_ value: Double) -> Double? { value.isFinite ? value : nil }
