/// The result of a verification.
///
/// As JSON, a figure that cannot be given is null, and a sentence says why.
public struct VerificationReport: Sendable, Codable, Hashable {
    /// The true accept rate at a false accept rate.
    public struct Operating: Sendable, Codable, Hashable {
        /// The largest false accept rate that is allowed.
        public var far: Double
        /// True accept rate: the share of same pairs that are accepted. Nil if the different pairs are too few to tell.
        public var tar: Double?
        /// Pairs with a higher similarity are accepted. Nil if there is no such similarity.
        public var threshold: Double?
        /// Why there is no rate.
        public var reason: String?

        public func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(far, forKey: .far)
            try fields.encode(tar, forKey: .tar)
            try fields.encode(threshold, forKey: .threshold)
            try fields.encodeIfPresent(reason, forKey: .reason)
        }
    }

    /// A point of the ROC curve.
    public struct Point: Sendable, Codable, Hashable {
        public var far: Double
        public var tar: Double
    }

    public var name: String
    public var pairCount: Int
    /// How many of the pairs show the same identity. If all or none do, there are no figures.
    public var samePairCount: Int
    /// Mean over the folds of the accuracy on a fold at the threshold that is best for the others.
    public var accuracy: Double?
    /// Standard deviation of the folds' accuracies.
    public var accuracyDeviation: Double?
    /// Mean of the folds' thresholds (cosine).
    public var threshold: Double?
    /// At false accept rates 1e-2, 1e-3 and 1e-4.
    public var operating: [Operating]
    /// Area under the ROC curve: the probability that a same pair is more similar than a different one.
    public var auc: Double?
    /// Corners of the ROC curve, from (0, 0) to (1, 1); empty if there is none.
    public var roc: [Point]
    /// Pairs left out because an image is missing or did not decode.
    public var skippedPairs: Int
    /// Why there are no figures, nil if there are.
    public var reason: String?

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(name, forKey: .name)
        try fields.encode(pairCount, forKey: .pairCount)
        try fields.encode(samePairCount, forKey: .samePairCount)
        try fields.encode(accuracy, forKey: .accuracy)
        try fields.encode(accuracyDeviation, forKey: .accuracyDeviation)
        try fields.encode(threshold, forKey: .threshold)
        try fields.encode(operating, forKey: .operating)
        try fields.encode(auc, forKey: .auc)
        try fields.encode(roc, forKey: .roc)
        try fields.encode(skippedPairs, forKey: .skippedPairs)
        try fields.encodeIfPresent(reason, forKey: .reason)
    }

    /// One line: accuracy, true accept rates, area.
    public var summary: String {
        func percent(_ value: Double) -> String { rounded(value * 100, places: 2) + " %" }
        let skipped = skippedPairs > 0 ? ", \(skippedPairs) skipped)" : ")"
        guard let accuracy, let accuracyDeviation, let auc else {
            return "\(name): \(reason ?? "no figure can be given")"
                + (skippedPairs > 0 ? " (\(pairCount) pairs" + skipped : "")
        }
        let rates = operating.map { "TAR@FAR=\($0.far) \($0.tar.map(percent) ?? "not resolved")" }
        return
            "\(name): accuracy \(percent(accuracy)) ± \(percent(accuracyDeviation))  \(rates.joined(separator: "  "))  AUC \(rounded(auc, places: 5))  "
            + "(\(pairCount) pairs" + skipped
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
