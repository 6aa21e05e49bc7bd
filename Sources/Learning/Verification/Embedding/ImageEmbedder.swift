public import Dataset
internal import Determinism
internal import Foundation
public import Tensors

/// Embeds images in batches, decoding on several threads.
public struct ImageEmbedder {
    /// How it is done.
    public struct Options: Sendable, Hashable, Codable {
        /// Images of a call of the network.
        public var batchSize = 64
        /// Whether an embedding is the sum over the image and its mirror image.
        public var flips = true
        public var preprocessing = Preprocessing()
        /// Threads that decode.
        public var threads = 1

        public init() {}
    }

    private let options: Options
    private let network: (Tensor) throws -> Tensor

    /// - Parameter network: images f32 [n, height, width, channels] to embeddings f32 [n, D].
    public init(options: Options, network: @escaping (Tensor) throws -> Tensor) {
        self.options = options
        self.network = network
    }

    /// Gives the embeddings of images `range` to `body`, a batch after another, in their order.
    ///
    /// - Parameter body: the images' indices and f32 [n, D], not normalised.
    /// - Throws: `DatasetError` for an image that does not decode or whose embedding is not finite; what `network` and `body` throw.
    public func embed(
        _ source: any ImageSource, _ range: Range<Int>, _ body: (Range<Int>, UnsafeBufferPointer<Float>) throws -> Void
    ) throws {
        for start in stride(from: range.lowerBound, to: range.upperBound, by: max(1, options.batchSize)) {
            let batch = start..<min(range.upperBound, start + max(1, options.batchSize))
            let images = try Self.images(
                source, batch, preprocessing: options.preprocessing, threads: options.threads)
            let embeddings = try checked(network(images), batch.count)
            var values = embeddings.array(Float.self)
            if options.flips {
                let mirrored = try checked(network(ImageTensor.flipped(images, layout: .nhwc)), batch.count)
                guard mirrored.shape == embeddings.shape else { throw shape(mirrored, batch.count) }
                for (index, value) in mirrored.buffer(Float.self).enumerated() { values[index] += value }
            }
            if let bad = values.firstIndex(where: { !$0.isFinite }) {
                let index = start + bad / (values.count / batch.count)
                throw DatasetError(
                    .badEmbedding, index: index, "the embedding of \(source.origin(of: index)) is not finite")
            }
            try values.withUnsafeBufferPointer { try body(batch, $0) }
        }
    }

    private func checked(_ embeddings: Tensor, _ count: Int) throws(DatasetError) -> Tensor {
        guard embeddings.dtype == .f32, embeddings.shape.count == 2, embeddings.shape[0] == count,
            embeddings.shape[1] > 0
        else { throw shape(embeddings, count) }
        return embeddings
    }

    private func shape(_ embeddings: Tensor, _ count: Int) -> DatasetError {
        DatasetError(
            .invalidOption,
            "the network gave \(embeddings.dtype) \(embeddings.shape) for \(count) images, not f32 [n, D]")
    }

    /// Images `indices` of a source: f32 [n, height, width, channels].
    ///
    /// - Throws: `DatasetError` for the first that does not decode.
    public static func images(
        _ source: any ImageSource, _ indices: some RandomAccessCollection<Int> & Sendable, preprocessing: Preprocessing,
        threads: Int
    ) throws(DatasetError) -> Tensor {
        let shape = source.imageShape
        let indices = Array(indices)
        let images = Tensor(uninitialized: Float.self, shape: ImageLayout.nhwc.batchShape(indices.count, shape))
        let failures = Failures()
        ParallelBlocks(threads: max(1, threads)).forEach(indices.count) { row, _ in
            var pixels = [UInt8](repeating: 0, count: shape.count)
            let target = UnsafeMutableBufferPointer(
                rebasing: images.mutable(Float.self)[row * shape.count..<(row + 1) * shape.count])
            var problem: DatasetError?
            pixels.withUnsafeMutableBufferPointer { pixels in
                do throws(DatasetError) { try source.image(at: indices[row], into: pixels) } catch {
                    problem = error
                    return
                }
                preprocessing.apply(UnsafeBufferPointer(pixels), shape: shape, into: target)
            }
            if let problem { failures.add(row, problem) }
        }
        if let failure = failures.first { throw failure }
        return images
    }
}
