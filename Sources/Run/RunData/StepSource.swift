public import Configuration
public import Dataset
internal import Foundation
public import ParameterStore
public import Tensors

/// Where a step's samples come from: images decoded in the background, or stored features.
///
/// A function of the data, the configuration and the classes. Samples whose class is retired or was not added yet are
/// replaced by the next one in the epoch's order; labels of merged classes are mapped.
public final class StepSource: @unchecked Sendable {
    private enum Samples {
        case images(BatchLoader)
        case features(FeatureDataset, DataOrder)
    }

    private let data: TrainingData
    private let configuration: RunConfiguration
    /// Guards what follows: another thread asks for the replaced images.
    private let lock = NSLock()
    private var samples: Samples
    private var relabeling: Relabeling
    /// Of the loaders that there were before this one.
    private var replacedBefore = Replaced()

    /// - Throws: `DatasetError` if the batch does not fit the data, or no sample has a class.
    public init(_ data: TrainingData, _ configuration: RunConfiguration, classes: ClassRegistry) throws {
        self.data = data
        self.configuration = configuration
        relabeling = Relabeling(classes: classes)
        samples = try Self.samples(data, configuration, relabeling)
    }

    /// Goes on with the classes after operations, from the next step asked for.
    ///
    /// - Throws: `DatasetError` if no sample has a class any more.
    public func adopt(_ classes: ClassRegistry) throws {
        let relabeling = Relabeling(classes: classes)
        let samples = try Self.samples(data, configuration, relabeling)
        lock.withLock {
            replacedBefore = replacedUnlocked
            (self.samples, self.relabeling) = (samples, relabeling)
        }
    }

    private static func samples(
        _ data: TrainingData, _ configuration: RunConfiguration, _ relabeling: Relabeling
    ) throws -> Samples {
        var order = try DataOrder(
            seed: configuration.seed, sampleCount: data.sampleCount, batchSize: configuration.batch.size,
            remainder: .carry)
        let isPlain = relabeling.classes.operations.isEmpty && data.labelCount <= relabeling.classes.classCount
        if !isPlain {
            guard (0..<data.sampleCount).contains(where: { relabeling.label(data.label(of: $0)) != nil }) else {
                throw DatasetError(
                    .noSamples,
                    "none of the \(data.sampleCount) samples belongs to a class that is left; add their classes first")
            }
            order.takesPart = { relabeling.label(data.label(of: $0)) != nil }
        }
        switch data.samples {
        case .images(let dataset):
            var options = BatchLoaderOptions()
            options.layout = .nhwc
            options.augmentation = Augmentation(
                flip: configuration.data.flip, maximumShift: configuration.data.shift,
                changes: configuration.data.changes.compactMap { change in
                    PixelChange.Kind(rawValue: change.name).map { PixelChange($0, probability: change.probability) }
                })
            options.badSamples = configuration.data.corruptImages == "fail" ? .fatal : .skip
            return .images(
                try BatchLoader(
                    dataset: isPlain ? dataset : RelabeledDataset(base: dataset, relabeling: relabeling), order: order,
                    microBatchSize: configuration.batch.microBatch, options: options))
        case .features(let features): return .features(features, order)
        }
    }

    /// The labels of a rank's micro-batches, i64 [n].
    ///
    /// - Throws: `DatasetError` if no image can be read.
    public func labels(step: Int, microBatches: Range<Int>) throws(DatasetError) -> Tensor {
        switch samples {
        case .images(let loader): return try loader.labels(step: step, microBatches: microBatches)
        case .features(let features, _):
            let labels = features.samples(indices(step: step, microBatches: microBatches)).labels
            if relabeling.classes.operations.isEmpty { return labels }
            return Tensor(labels.array(Int64.self).map { Int64(relabeling.label(Int($0)) ?? Int($0)) })
        }
    }

    /// What the backbone sees of a rank's micro-batches: images f32 [n, H, W, C], or features f32 [n, D].
    ///
    /// - Throws: `DatasetError` if an image does not decode and that is fatal.
    public func inputs(step: Int, microBatches: Range<Int>) throws(DatasetError) -> Tensor {
        switch samples {
        case .images(let loader): try loader.batch(step: step, microBatches: microBatches).images
        case .features(let features, _): features.samples(indices(step: step, microBatches: microBatches)).features
        }
    }

    /// The samples of the data set at a rank's micro-batches.
    public func indices(step: Int, microBatches: Range<Int>) -> [Int] {
        let size = configuration.batch.microBatch
        let positions = microBatches.lowerBound * size..<microBatches.upperBound * size
        return switch samples {
        case .images(let loader): loader.samples(step: step, microBatches: microBatches)
        case .features(_, let order): order.indices(step: step, positions: positions)
        }
    }

    /// What was replaced. From any thread.
    public var replaced: Replaced { lock.withLock { replacedUnlocked } }

    private var replacedUnlocked: Replaced {
        var replaced = replacedBefore
        if case .images(let loader) = samples {
            replaced.images += loader.replacedSamples
            replaced.problems += loader.replacedProblems
            // Each loader finds them anew.
            replaced.identities = max(replaced.identities, loader.unreadableIdentities)
        }
        return replaced
    }
}

extension StepSource {
    /// What took the place of images that did not decode.
    public struct Replaced: Sendable {
        /// Images that did not decode.
        public var images = 0
        /// Identities that have no image that decodes, as far as they have come up.
        public var identities = 0
        /// What was wrong with the first of them.
        public var problems: [DatasetError] = []

        public init() {}
    }
}
