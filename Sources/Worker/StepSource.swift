import Dataset
import RunConfiguration
import RunSetup
import Tensors

/// Where a step's samples come from: images in the background, or stored features.
enum StepSource {
    case images(BatchLoader)
    case features(FeatureDataset, DataOrder, microBatchSize: Int)

    /// - Throws: `DatasetError` if the batch does not fit the data.
    init(_ data: TrainingData, _ configuration: RunConfiguration) throws {
        let order = try DataOrder(
            seed: configuration.seed, sampleCount: data.sampleCount, batchSize: configuration.batch.size,
            remainder: .carry)
        switch data.samples {
        case .images(let dataset):
            var options = BatchLoaderOptions()
            options.layout = .nhwc
            options.augmentation = Augmentation(flip: configuration.data.flip, maximumShift: configuration.data.shift)
            options.badSamples = configuration.data.corruptImages == "fail" ? .fatal : .skip
            self = .images(
                try BatchLoader(
                    dataset: dataset, order: order, microBatchSize: configuration.batch.microBatch, options: options))
        case .features(let features):
            self = .features(features, order, microBatchSize: configuration.batch.microBatch)
        }
    }

    /// The labels of a rank's micro-batches, i64 [n].
    func labels(step: Int, microBatches: Range<Int>) -> Tensor {
        switch self {
        case .images(let loader): loader.labels(step: step, microBatches: microBatches)
        case .features(let features, _, _): features.samples(indices(step: step, microBatches: microBatches)).labels
        }
    }

    /// The samples of the data set at a rank's micro-batches.
    func indices(step: Int, microBatches: Range<Int>) -> [Int] {
        switch self {
        case .images(let loader):
            let size = loader.microBatchSize
            return loader.order.indices(
                step: step, positions: microBatches.lowerBound * size..<microBatches.upperBound * size)
        case .features(_, let order, let size):
            return order.indices(step: step, positions: microBatches.lowerBound * size..<microBatches.upperBound * size)
        }
    }

    /// How many images did not decode and were replaced, and what was wrong with the first of them.
    var replaced: (count: Int, problems: [DatasetError]) {
        switch self {
        case .images(let loader): (loader.replacedSamples, loader.replacedProblems)
        case .features: (0, [])
        }
    }
}
