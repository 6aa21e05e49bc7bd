/// The result of a verification.
public struct VerificationReport: Sendable, Codable, Hashable {
    /// The true accept rate at a false accept rate.
    public struct Operating: Sendable, Codable, Hashable {
        /// The largest false accept rate that is allowed.
        public var far: Double
        /// True accept rate: the share of same pairs that are accepted.
        public var tar: Double
        /// Pairs with a higher similarity are accepted.
        public var threshold: Double
    }

    /// A point of the ROC curve.
    public struct Point: Sendable, Codable, Hashable {
        public var far: Double
        public var tar: Double
    }

    public var name: String
    public var pairCount: Int
    /// How many of the pairs show the same identity. If all or none do, the figures say nothing.
    public var samePairCount: Int
    /// Mean over the folds of the accuracy on a fold at the threshold that is best for the others.
    public var accuracy: Double
    /// Standard deviation of the folds' accuracies.
    public var accuracyDeviation: Double
    /// Mean of the folds' thresholds (cosine).
    public var threshold: Double
    /// At false accept rates 1e-2, 1e-3 and 1e-4.
    public var operating: [Operating]
    /// Area under the ROC curve: the probability that a same pair is more similar than a different one.
    public var auc: Double
    /// Corners of the ROC curve, from (0, 0) to (1, 1).
    public var roc: [Point]
    /// Pairs left out because an image did not decode.
    public var skippedPairs: Int

    /// One line: accuracy, true accept rates, area.
    public var summary: String {
        func percent(_ value: Double) -> String { rounded(value * 100, places: 2) + " %" }
        let rates = operating.map { "TAR@FAR=\($0.far) \(percent($0.tar))" }.joined(separator: "  ")
        guard samePairCount > 0, samePairCount < pairCount else {
            return "\(name): all \(pairCount) pairs are of one kind; no figure can be given"
        }
        return
            "\(name): accuracy \(percent(accuracy)) ± \(percent(accuracyDeviation))  \(rates)  AUC \(rounded(auc, places: 5))  "
            + "(\(pairCount) pairs" + (skippedPairs > 0 ? ", \(skippedPairs) skipped)" : ")")
    }
}

/// `value` with `places` decimals.
func rounded(_ value: Double, places: Int) -> String {
    guard value.isFinite, abs(value) < 1e9 else { return "\(value)" }
    var scale = 1
    for _ in 0..<places { scale *= 10 }
    let scaled = Int((abs(value) * Double(scale)).rounded())
    let digits = String(scaled % scale)
    let sign = value < 0 && scaled > 0 ? "-" : ""
    return sign + "\(scaled / scale)." + String(repeating: "0", count: places - digits.count) + digits
}
