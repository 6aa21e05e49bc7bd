public import Dataset
internal import Determinism
internal import Foundation

/// Makes templates' features of the features of their images, which come in one after another.
///
/// A template is the sum over its media of the mean over that media's images, at length 1. Only the templates are in memory: 24 MB
/// (IJB-B) or 47 MB (IJB-C) for D = 512.
public struct TemplatePool: Sendable {
    /// What happens to an image's feature before it is pooled.
    public struct Options: Sendable, Hashable, Codable {
        /// The feature as it is, or at length 1. InsightFace's `eval_ijbc.py` keeps the norm by default. Its `use_norm_score=True` means
        /// *keep* there, and *remove* in `ijb_evals.py`.
        public var keepNorm = true
        /// The feature times its detector's score.
        public var detectorScore = true

        public init(keepNorm: Bool = true, detectorScore: Bool = true) {
            self.keepNorm = keepNorm
            self.detectorScore = detectorScore
        }
    }

    private let set: TemplateSet
    private let options: Options
    private let size: Int
    private var sums: [Float]
    private var row = 0

    /// - Parameter size: D, the length of a feature.
    public init(_ set: TemplateSet, size: Int, options: Options = .init()) {
        precondition(!options.detectorScore || set.scores.count == set.images.count, "the scores were not read")
        self.set = set
        self.size = size
        self.options = options
        sums = [Float](repeating: 0, count: set.templates.count * size)
    }

    /// Takes the features of the next rows, a whole number of them.
    ///
    /// - Throws: `DatasetError` if there are more than rows, or one is not finite.
    public mutating func add(_ features: UnsafeBufferPointer<Float>) throws(DatasetError) {
        precondition(features.count % size == 0, "\(features.count) values are not whole features of \(size)")
        for start in stride(from: 0, to: features.count, by: size) {
            guard row < set.images.count else {
                throw DatasetError(
                    .unlikely, "there are more features than the \(set.images.count) images of \(set.folder)")
            }
            var squares: Float = 0
            for k in 0..<size { squares += features[start + k] * features[start + k] }
            guard squares.isFinite else {
                throw DatasetError(.badEmbedding, index: row, "the embedding of \(set.images[row]) is not finite")
            }
            var factor = set.rowWeights[row]
            if !options.keepNorm, squares > 0 { factor /= squares.squareRoot() }
            if options.detectorScore { factor *= set.scores[row] }
            let target = Int(set.rowTemplates[row]) * size
            for k in 0..<size { sums[target + k] += factor * features[start + k] }
            row += 1
        }
    }

    /// The templates, once every row is in.
    ///
    /// - Throws: `DatasetError` if rows are missing: rows belong together by their order alone.
    public consuming func templates() throws(DatasetError) -> TemplateFeatures {
        guard row == set.images.count else {
            throw DatasetError(
                .unlikely, "there are features for \(row) of the \(set.images.count) images of \(set.folder)")
        }
        return TemplateFeatures(normalizing: sums, size: size)
    }
}

/// Features of length 1, or of length 0 where there was nothing.
public struct TemplateFeatures: Sendable {
    /// f32 [n, D], row after row.
    public let values: [Float]
    /// D.
    public let size: Int
    /// Rows that are zero: their score with everything is 0.
    public let zeroCount: Int

    public var count: Int { values.count / max(size, 1) }

    /// Brings every row to length 1; a row of zeros stays.
    public init(normalizing rows: consuming [Float], size: Int) {
        var values = rows
        var zeros = 0
        for start in stride(from: 0, to: values.count, by: size) {
            var squares = 0.0
            for k in 0..<size { squares += Double(values[start + k]) * Double(values[start + k]) }
            guard squares > 0 else {
                zeros += 1
                continue
            }
            let factor = 1 / squares.squareRoot()
            for k in 0..<size { values[start + k] = Float(Double(values[start + k]) * factor) }
        }
        (self.values, self.size, zeroCount) = (values, size, zeros)
    }

    /// The products of pairs of rows, in blocks on several threads: 4 bytes a pair.
    public func scores(_ pairs: TemplatePairs, threads: Int) -> [Float] {
        let block = 1 << 16
        let size = size
        return [Float](unsafeUninitializedCapacity: pairs.count) { target, filled in
            // Blocks write to places of their own.
            nonisolated(unsafe) let target = target
            values.withUnsafeBufferPointer { values in
                nonisolated(unsafe) let values = values
                ParallelBlocks(threads: max(1, threads)).forEach((pairs.count + block - 1) / block) { number, _ in
                    for pair in number * block..<min(pairs.count, (number + 1) * block) {
                        target[pair] = Products.dot(
                            values.baseAddress! + Int(pairs.first[pair]) * size,
                            values.baseAddress! + Int(pairs.second[pair]) * size, size)
                    }
                }
            }
            filled = pairs.count
        }
    }
}
