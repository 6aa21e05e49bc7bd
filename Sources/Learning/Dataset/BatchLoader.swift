internal import Foundation
public import Tensors

/// How batches are made from a data set.
public struct BatchLoaderOptions: Sendable, Hashable, Codable {
    /// Axis order of the images.
    public var layout: ImageLayout = .nchw
    public var augmentation = Augmentation()
    /// Threads that decode in the background.
    public var threads = 1
    /// How many steps beyond the one last asked for are decoded ahead.
    public var prefetchSteps = 2
    /// What happens when an image does not decode.
    public var badSamples = BadSamplePolicy.fatal

    public init() {}
}

/// Decodes the micro-batches of a rank in the background, some steps ahead of their use.
///
/// What a batch contains is a function of (data set, order, options, step, micro-batch): prefetching, threads and the
/// ranges asked for before change only when it is ready. After a batch was asked for, the same range of the following
/// steps is decoded ahead; if the range changes, what was decoded for other micro-batches is dropped.
///
/// With `.skip`, an image that does not decode is replaced by the next image of the same class that does (in order of
/// sample index, cyclically). A class that has none is left out: its samples are replaced by the next ones in the epoch's
/// order that can be read, with their labels. So labels are known when the images are decoded, not before.
public final class BatchLoader: Sendable {
    public let dataset: any ImageDataset
    public let order: DataOrder
    /// g: samples per micro-batch; the global batch is a multiple of it.
    public let microBatchSize: Int
    public let options: BatchLoaderOptions
    private let queue: MicroBatchQueue
    private let last = LastBatch()

    /// A loader of `order.batchSize / microBatchSize` micro-batches per step.
    ///
    /// - Throws: `DatasetError` (`invalidOption`) if the sizes do not fit each other.
    public init(
        dataset: any ImageDataset, order: DataOrder, microBatchSize: Int, options: BatchLoaderOptions = .init()
    ) throws(DatasetError) {
        guard order.sampleCount == dataset.sampleCount else {
            throw DatasetError(
                .invalidOption,
                "the order is of \(order.sampleCount) samples but the data set has \(dataset.sampleCount)")
        }
        guard microBatchSize > 0, order.batchSize % microBatchSize == 0 else {
            throw DatasetError(
                .invalidOption,
                "a global batch of \(order.batchSize) cannot be cut into micro-batches of \(microBatchSize): choose a divisor"
            )
        }
        guard options.threads > 0, options.prefetchSteps >= 0, (0...64).contains(options.augmentation.maximumShift)
        else {
            throw DatasetError(
                .invalidOption,
                "a loader needs at least 1 thread (\(options.threads)), no negative prefetch (\(options.prefetchSteps)) and a "
                    + "shift of 0...64 pixels (\(options.augmentation.maximumShift))")
        }
        self.dataset = dataset
        self.order = order
        self.microBatchSize = microBatchSize
        self.options = options
        let decoder = MicroBatchDecoder(dataset: dataset, order: order, size: microBatchSize, options: options)
        queue = MicroBatchQueue(decoder: decoder, threads: options.threads)
    }

    deinit { queue.stop() }

    /// M: micro-batches in a global batch.
    public var microBatchCount: Int { order.batchSize / microBatchSize }

    /// Images that were replaced because they did not decode.
    public var replacedSamples: Int { queue.decoder.replaced.count }

    /// The errors of the first replaced images (at most 100), with their indices.
    public var replacedProblems: [DatasetError] { queue.decoder.replaced.first }

    /// Classes of which no image could be read, as far as they have come up.
    public var unreadableIdentities: Int { queue.decoder.replaced.unreadableIdentities }

    /// The labels of micro-batches `microBatches` of `step`, i64 [n]. If bad samples are skipped, this waits until the
    /// images are decoded, and keeps them for `batch`.
    ///
    /// - Throws: `DatasetError` if nothing can be read.
    public func labels(step: Int, microBatches: Range<Int>) throws(DatasetError) -> Tensor {
        let samples: [Int]
        if options.badSamples == .skip {
            samples = try decoded(step, microBatches).flatMap(\.samples)
        } else {
            samples = order.indices(step: step, positions: positions(of: microBatches))
        }
        return labels(of: samples)
    }

    /// The samples of micro-batches `microBatches` of `step`: those that were decoded, if these were decoded last.
    public func samples(step: Int, microBatches: Range<Int>) -> [Int] {
        last.samples(step, microBatches) ?? order.indices(step: step, positions: positions(of: microBatches))
    }

    /// The images and labels of micro-batches `microBatches` of `step`; waits until they are decoded. An empty range gives
    /// a batch of 0.
    ///
    /// - Throws: `DatasetError` with the sample's index if an image does not decode and bad samples are fatal, or if nothing
    ///   can be read.
    public func batch(step: Int, microBatches: Range<Int>) throws(DatasetError) -> Batch {
        let parts = try decoded(step, microBatches)
        last.forgetImages()
        let images = Tensor(
            uninitialized: Float.self,
            shape: options.layout.batchShape(microBatches.count * microBatchSize, dataset.imageShape))
        for (part, microBatch) in parts.enumerated() {
            (images.rawPointer + part * microBatch.images.byteCount).copyMemory(
                from: microBatch.images.rawPointer, byteCount: microBatch.images.byteCount)
        }
        return Batch(images: images, labels: labels(of: parts.flatMap(\.samples)))
    }

    /// The micro-batches, kept from the call before this one or taken from the queue.
    private func decoded(_ step: Int, _ microBatches: Range<Int>) throws(DatasetError) -> [MicroBatch] {
        if let kept = last.images(step, microBatches) { return kept }
        let parts = try queue.take(step: step, microBatches: microBatches, ahead: options.prefetchSteps)
        last.keep(parts, step, microBatches)
        return parts
    }

    private func labels(of samples: [Int]) -> Tensor { Tensor(samples.map { Int64(dataset.label(of: $0)) }) }

    private func positions(of microBatches: Range<Int>) -> Range<Int> {
        microBatches.lowerBound * microBatchSize..<microBatches.upperBound * microBatchSize
    }
}

/// What was decoded last: asked for its labels first, and then for its images.
private final class LastBatch: @unchecked Sendable {
    private let lock = NSLock()
    private var step = -1
    private var microBatches = 0..<0
    private var parts: [MicroBatch]?
    private var samples: [Int] = []

    func keep(_ parts: [MicroBatch], _ step: Int, _ microBatches: Range<Int>) {
        let samples = parts.flatMap(\.samples)
        lock.withLock {
            (self.parts, self.samples, self.step, self.microBatches) = (parts, samples, step, microBatches)
        }
    }

    func images(_ step: Int, _ microBatches: Range<Int>) -> [MicroBatch]? {
        lock.withLock { self.step == step && self.microBatches == microBatches ? parts : nil }
    }

    func samples(_ step: Int, _ microBatches: Range<Int>) -> [Int]? {
        lock.withLock { self.step == step && self.microBatches == microBatches ? samples : nil }
    }

    func forgetImages() { lock.withLock { parts = nil } }
}
