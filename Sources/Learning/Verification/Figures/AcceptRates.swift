/// True accept rates at given false accept rates, of any number of scored pairs, as others define them.
///
/// A pair is accepted if its score is at least a threshold. A *vertex* of the ROC is a threshold that is one of the scores: equal scores are
/// one vertex.
public struct AcceptRates: Sendable, Hashable, Codable {
    /// The six rates that papers give.
    public static let published = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]

    /// A true accept rate and how it came about.
    public struct Rate: Sendable, Hashable, Codable {
        /// The false accept rate that was asked for.
        public var far: Double
        /// As InsightFace computes it: at the vertex whose false accept rate is *nearest*, which can lie above the one asked for. Nil if not
        /// resolved.
        public var nearest: Double?
        /// The false accept rate of that vertex.
        public var nearestFAR: Double?
        /// The largest true accept rate whose false accept rate is *at most* the one asked for. Nil if not resolved.
        public var strict: Double?
        /// Why there is none: fewer different pairs than resolve the rate.
        public var reason: String?
    }

    public var samePairs: Int
    public var differentPairs: Int
    public var rates: [Rate]
    /// The area under the whole curve. That of `eval_ijbc.py` is over a curve from which vertices were dropped.
    public var auc: Double?
    /// Why there are no figures, nil if there are.
    public var reason: String?

    /// - Parameters:
    ///   - scores: finite.
    ///   - same: whether the pairs are of one person, one for each score.
    public init(scores: [Float], same: [Bool], at fars: [Double] = published) {
        precondition(scores.count == same.count, "one label per score")
        var positives: [Float] = []
        var negatives: [Float] = []
        let samePairs = same.count { $0 }
        positives.reserveCapacity(samePairs)
        negatives.reserveCapacity(scores.count - samePairs)
        for index in scores.indices {
            if same[index] { positives.append(scores[index]) } else { negatives.append(scores[index]) }
        }
        self.init(positives: positives, negatives: negatives, at: fars)
    }

    /// - Parameters:
    ///   - positives: scores of pairs of one person.
    ///   - negatives: scores of the others.
    public init(positives: consuming [Float], negatives: consuming [Float], at fars: [Double] = published) {
        (samePairs, differentPairs) = (positives.count, negatives.count)
        guard !positives.isEmpty, !negatives.isEmpty else {
            let reason =
                "all \(samePairs + differentPairs) pairs are of \(samePairs > 0 ? "the same person" : "different persons"); no figure can be given"
            self.reason = reason
            rates = fars.map { Rate(far: $0, reason: reason) }
            return
        }
        let curve = Curve(positives: positives, negatives: negatives)
        let kept = curve.reduced
        auc = curve.area
        let count = differentPairs
        rates = fars.map { far in
            guard far * Double(count) >= 1 - 1e-9 else {
                return Rate(
                    far: far, reason: "\(count) different pairs do not resolve a rate below 1/\(count)")
            }
            let nearest = kept.nearest(to: far)
            return Rate(
                far: far, nearest: nearest.tar, nearestFAR: nearest.far, strict: curve.strict(at: far))
        }
    }
}

/// The vertices of an ROC: how many are accepted at each, from none to all.
struct Curve {
    /// Accepted pairs of one person and of different ones.
    struct Vertex: Equatable {
        var right: Int32
        var wrong: Int32
    }

    private(set) var vertices: [Vertex]
    private let same: Double
    private let different: Double

    init(positives: consuming [Float], negatives: consuming [Float]) {
        var (positives, negatives) = (positives, negatives)
        positives.sort(by: >)
        negatives.sort(by: >)
        (same, different) = (Double(positives.count), Double(negatives.count))
        vertices = [Vertex(right: 0, wrong: 0)]
        var (right, wrong) = (0, 0)
        while right < positives.count || wrong < negatives.count {
            let threshold = max(
                right < positives.count ? positives[right] : -.infinity,
                wrong < negatives.count ? negatives[wrong] : -.infinity)
            let before = (right, wrong)
            while right < positives.count, positives[right] >= threshold { right += 1 }
            while wrong < negatives.count, negatives[wrong] >= threshold { wrong += 1 }
            // A score that is no number compares with nothing: the rest counts as one vertex.
            if before == (right, wrong) { (right, wrong) = (positives.count, negatives.count) }
            vertices.append(Vertex(right: Int32(right), wrong: Int32(wrong)))
        }
    }

    private init(vertices: [Vertex], same: Double, different: Double) {
        (self.vertices, self.same, self.different) = (vertices, same, different)
    }

    func far(_ vertex: Vertex) -> Double { Double(vertex.wrong) / different }
    func tar(_ vertex: Vertex) -> Double { Double(vertex.right) / same }

    /// The curve that scikit-learn's `roc_curve` gives by default: without vertices from which the curve goes on by the step by which it came.
    /// The origin is put before the others after that.
    var reduced: Curve {
        let all = vertices.dropFirst()
        var kept = [vertices[0]]
        for index in all.indices {
            let vertex = all[index]
            if index > all.startIndex, index < all.endIndex - 1 {
                let (before, after) = (all[index - 1], all[index + 1])
                let isOnLine =
                    after.wrong - vertex.wrong == vertex.wrong - before.wrong
                    && after.right - vertex.right == vertex.right - before.right
                if isOnLine { continue }
            }
            kept.append(vertex)
        }
        return Curve(vertices: kept, same: same, different: different)
    }

    /// The vertex whose false accept rate is nearest to `x`; of equally near ones that with the larger rate, and of those the one with the
    /// larger true accept rate.
    func nearest(to x: Double) -> (far: Double, tar: Double) {
        var best = vertices[vertices.count - 1]
        for vertex in vertices.reversed() where abs(far(vertex) - x) < abs(far(best) - x) { best = vertex }
        return (far(best), tar(best))
    }

    /// The largest true accept rate whose false accept rate is at most `x`.
    func strict(at x: Double) -> Double {
        vertices.last { far($0) <= x }.map(tar) ?? 0
    }

    /// The area under the curve.
    var area: Double {
        zip(vertices, vertices.dropFirst()).reduce(0) { $0 + (far($1.1) - far($1.0)) * (tar($1.1) + tar($1.0)) / 2 }
    }
}
