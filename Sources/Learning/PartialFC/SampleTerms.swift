internal import CKernels
internal import Model
public import Tensors

/// What a job from outside says of each sample of a batch beside its features and its class.
public struct SampleTerms: Sendable {
    /// m1, m2 and m3 of the target logit, f32 [B, 3]; nil: those of the step.
    public var margins: Tensor?
    /// Factor of the gradient on the centers, f32 [B]; nil: 1.
    public var weights: Tensor?

    public init(margins: Tensor? = nil, weights: Tensor? = nil) {
        self.margins = margins
        self.weights = weights
    }

    var isEmpty: Bool { margins == nil && weights == nil }
}

extension SampleTerms {
    /// Joins the margins of consecutive ranks; nil if none sent any.
    ///
    /// - Parameters:
    ///   - counts: samples of each rank.
    ///   - labels: of all of these samples; those without a class may have any margins.
    ///   - first: the place of the first in the batch.
    ///   - usual: of ranks that sent none.
    /// - Throws: `HeadError` if a tensor does not fit, or margins are not possible.
    static func margins(
        _ parts: [Tensor?], counts: [Int], labels: ArraySlice<Int64>, first: Int, usual: HeadMargins
    ) throws(HeadError) -> Tensor? {
        let numbers = [usual.m1, usual.m2, usual.m3].map(Float.init)
        return try joined(parts, counts: counts, width: 3, usual: numbers, "margins") {
            (sample, values) throws(HeadError) in
            guard labels[labels.startIndex + sample] >= 0 else { return }
            let margins = HeadMargins(m1: Double(values[0]), m2: Double(values[1]), m3: Double(values[2]))
            if let problem = margins.problem {
                throw HeadError(.malformed, "\(problem), for sample \(first + sample) of the batch")
            }
        }
    }

    /// Joins the weights of all ranks, likewise.
    static func weights(
        _ parts: [Tensor?], counts: [Int], labels: ArraySlice<Int64>
    ) throws(HeadError) -> Tensor? {
        try joined(parts, counts: counts, width: 1, usual: [1], "weights") { (sample, values) throws(HeadError) in
            guard labels[labels.startIndex + sample] >= 0 else { return }
            guard values[0].isFinite, values[0] >= 0 else {
                throw HeadError(
                    .notFinite,
                    "the weight of sample \(sample) of the batch is \(values[0]); it must be a number from 0 up")
            }
        }
    }

    private static func joined(
        _ parts: [Tensor?], counts: [Int], width: Int, usual: [Float], _ name: String,
        check: (_ sample: Int, _ values: UnsafePointer<Float>) throws(HeadError) -> Void
    ) throws(HeadError) -> Tensor? {
        guard parts.contains(where: { $0 != nil }) else { return nil }
        let total = counts.reduce(0, +)
        let all = Tensor(uninitialized: Float.self, shape: width == 1 ? [total] : [total, width])
        var sample = 0
        for (rank, count) in counts.enumerated() {
            let part = rank < parts.count ? parts[rank] : nil
            if let part {
                let shape = width == 1 ? [count] : [count, width]
                try Payload.check(part, name, .f32, shape, from: counts.count == 1 ? "the rank" : "rank \(rank)")
            }
            for index in 0..<count {
                let values = all.pointer(Float.self) + sample * width
                for column in 0..<width {
                    values[column] = part?.buffer(Float.self)[index * width + column] ?? usual[column]
                }
                try check(sample, values)
                sample += 1
            }
        }
        return all
    }
}

/// log Z of every sample f64 [n], and what logits of other classes than the target are taken relative to.
///
/// With a weight w the gradient has w·exp(z − log Z) = exp(z − (log Z − ln w)): the other classes need another normalizer and no
/// factor. It is +∞ for samples that have no part: w = 0, or no class.
struct Normalizers: Sendable {
    var logZ: Tensor
    var weighted: Tensor

    /// All samples weigh 1.
    init(_ logZ: Tensor) { (self.logZ, weighted) = (logZ, logZ) }

    /// - Parameters:
    ///   - weights: f32 [n]; nil for 1.
    ///   - labels: −1 for samples without class.
    init(_ logZ: Tensor, weights: Tensor?, labels: [Int64]) {
        self.init(logZ)
        guard weights != nil || labels.contains(where: { $0 < 0 }) else { return }
        let values = logZ.buffer(Double.self)
        weighted = Tensor(
            labels.indices.map { sample in
                let weight = labels[sample] < 0 ? 0 : weights?.buffer(Float.self)[sample] ?? 1
                if weight == 0 { return Double.infinity }
                return weight == 1 ? values[sample] : values[sample] - pfc_logarithm(Double(weight))
            })
    }
}
