public import Dataset
internal import Determinism
internal import Foundation
public import Tensors

/// How a verification set is evaluated.
public struct EvaluationOptions: Sendable, Hashable, Codable {
    /// Images per call of the embedding function; the last call may have fewer unless `padsLastBatch`.
    public var batchSize = 64
    /// Axis order of the images.
    public var layout: ImageLayout = .nchw
    /// Fills the last batch with copies of its last image, for networks of a fixed batch; their embeddings are dropped.
    public var padsLastBatch = false
    /// Threads that decode.
    public var threads = 1
    /// Whether an image that does not decode is an error, or its pairs are left out and counted.
    public var badSamples = BadSamplePolicy.fatal
    /// What becomes of pixels. Anything but the default needs the layout `nhwc`.
    public var preprocessing = Preprocessing()

    public init() {}
}

extension VerificationSet {
    /// Embeds every image that a pair needs and compares the pairs by cosine.
    ///
    /// - Parameter embed: images f32 in the layout of the options, values in [−1, 1], to embeddings f32 [n, D]. Called again
    ///   with the mirror images if `flips`; the two embeddings are added.
    /// - Returns: accuracy by cross-validation over the folds, true accept rates, and the ROC curve.
    /// - Throws: what `embed` throws; `DatasetError` for an image that does not decode (if fatal), for embeddings of
    ///   another shape, for one that is zero or not finite, or if no pair is left.
    public func evaluate(
        options: EvaluationOptions = .init(), embed: (Tensor) throws -> Tensor
    ) throws -> VerificationReport {
        let needed = Set(pairs.flatMap { [$0.first, $0.second] }).sorted()
        var embeddings: [Int: [Double]] = [:]
        for start in stride(from: 0, to: needed.count, by: max(options.batchSize, 1)) {
            let decoded = try decode(
                Array(needed[start..<min(start + max(options.batchSize, 1), needed.count)]), options)
            if decoded.indices.isEmpty { continue }
            let rows = try embedded(decoded.images, expected: decoded.images.shape[0], options, embed)
            for (row, index) in decoded.indices.enumerated() {
                embeddings[index] = try normalized(rows[row], of: index)
            }
        }
        var scores = PairScores(scores: [], same: [], folds: [])
        for pair in pairs {
            guard let a = embeddings[pair.first], let b = embeddings[pair.second] else { continue }
            scores.scores.append(zip(a, b).reduce(0) { $0 + $1.0 * $1.1 })
            scores.same.append(pair.same)
            scores.folds.append(pair.fold)
        }
        guard !scores.scores.isEmpty else {
            throw DatasetError(.noSamples, "\(name): no pair has two images that decode")
        }
        return scores.report(name: name, skippedPairs: problems.count + pairs.count - scores.scores.count)
    }

    /// The embedding at length 1.
    ///
    /// - Throws: `DatasetError` if it has no direction: no figure would mean anything.
    private func normalized(_ embedding: [Double], of index: Int) throws(DatasetError) -> [Double] {
        let norm = embedding.reduce(0) { $0 + $1 * $1 }.squareRoot()
        guard norm > 0, norm.isFinite else {
            throw DatasetError(
                .badEmbedding, index: index,
                "\(name): the embedding of \(images.origin(of: index)) is \(norm == 0 ? "zero" : "not finite"): the backbone gives nothing to compare"
            )
        }
        return embedding.map { $0 / norm }
    }

    /// Embeddings, flip-summed if asked for.
    private func embedded(
        _ images: Tensor, expected: Int, _ options: EvaluationOptions, _ embed: (Tensor) throws -> Tensor
    ) throws -> [[Double]] {
        var parts = [try embed(images)]
        if flips { parts.append(try embed(ImageTensor.flipped(images, layout: options.layout))) }
        for part in parts where part.dtype != .f32 || part.shape.count != 2 || part.shape[0] != expected {
            throw DatasetError(
                .invalidOption,
                "the embedding function returned \(part.dtype) \(part.shape) for \(expected) images, expected f32 [n, D]"
            )
        }
        let size = parts[0].shape[1]
        return (0..<expected).map { row in
            var sum = [Double](repeating: 0, count: size)
            for part in parts {
                let values = part.buffer(Float.self)
                for column in 0..<size { sum[column] += Double(values[row * size + column]) }
            }
            return sum
        }
    }

    /// The images that decode, with their indices; padded with copies of the last if asked for.
    private func decode(_ indices: [Int], _ options: EvaluationOptions) throws(DatasetError) -> (
        indices: [Int], images: Tensor
    ) {
        let shape = images.imageShape
        let source = images
        let pixels = Tensor(zeros: UInt8.self, shape: [indices.count, shape.count])
        let failures = DecodeFailures()
        ParallelBlocks(threads: max(options.threads, 1)).forEach(indices.count) { block, _ in
            let target = UnsafeMutableBufferPointer(
                rebasing: pixels.mutable(UInt8.self)[block * shape.count..<(block + 1) * shape.count])
            do throws(DatasetError) { try source.image(at: indices[block], into: target) } catch {
                failures.add(block, error)
            }
        }
        let failed = failures.byBlock
        if options.badSamples == .fatal, let first = failed.min(by: { $0.key < $1.key }) { throw first.value }
        let good = indices.indices.filter { failed[$0] == nil }
        let rows = good.isEmpty ? 0 : options.padsLastBatch ? options.batchSize : good.count
        let batch = Tensor(uninitialized: Float.self, shape: options.layout.batchShape(rows, shape))
        pixels.withPointer(UInt8.self) { pixels in
            batch.withMutablePointer(Float.self) { batch in
                for row in 0..<rows {
                    let block = good[min(row, good.count - 1)]
                    let image = UnsafeBufferPointer(rebasing: pixels[block * shape.count..<(block + 1) * shape.count])
                    let target = UnsafeMutableBufferPointer(
                        rebasing: batch[row * shape.count..<(row + 1) * shape.count])
                    if options.preprocessing == Preprocessing() {
                        ImageTensor.normalize(image, shape: shape, layout: options.layout, into: target)
                    } else {
                        precondition(options.layout == .nhwc, "preprocessing of another kind needs nhwc")
                        options.preprocessing.apply(image, shape: shape, into: target)
                    }
                }
            }
        }
        return (good.map { indices[$0] }, batch)
    }
}

/// Errors of blocks that run at the same time.
private final class DecodeFailures: @unchecked Sendable {
    private let lock = NSLock()
    private var errors: [Int: DatasetError] = [:]

    var byBlock: [Int: DatasetError] { lock.withLock { errors } }
    func add(_ block: Int, _ error: DatasetError) { lock.withLock { errors[block] = error } }
}
