public import Configuration
public import Dataset
internal import Tensors

/// The samples of a run, and those held out of it.
public struct TrainingData: Sendable {
    public let samples: Samples
    /// Images of identities that are never trained on, for verification.
    public let heldOut: (any ImageDataset)?
    /// What was left out or mended when the data were opened.
    public let opening: OpeningReport
    /// Number of classes that a run begins with: as configured, else those of the data. Samples of further classes wait until
    /// these are added.
    public let classCount: Int

    /// What the worker trains on.
    public enum Samples: Sendable {
        case images(any ImageDataset)
        /// Stored embeddings: there is no backbone.
        case features(FeatureDataset)
    }

    /// Opens the data that a configuration describes.
    ///
    /// - Throws: `DatasetError` if it cannot be read; `ConfigurationError` if it is not the data that the run was planned for.
    public init(_ configuration: RunConfiguration) throws {
        let data = configuration.data
        guard !configuration.isExternal else {
            throw ConfigurationError(
                key: "data.kind",
                problem:
                    "is external: samples and network are those of a job from outside, and this program has none to train"
            )
        }
        guard !data.path.isEmpty else { throw ConfigurationError(key: "data.path", problem: "is not set") }
        let options = DatasetOptions(
            imageShape: ImageShape(channels: data.channels, height: data.imageSize, width: data.width),
            badSamples: data.corruptImages == "fail" ? .fatal : .skip)
        switch data.kind {
        case "features":
            let features = try FeatureDataset(path: data.path)
            guard features.embeddingSize == configuration.backbone.embeddingSize else {
                throw ConfigurationError(
                    key: "backbone.embedding_size",
                    problem:
                        "is \(configuration.backbone.embeddingSize), but the features of \(data.path) have \(features.embeddingSize) numbers each; set it to \(features.embeddingSize)"
                )
            }
            samples = .features(features)
            heldOut = nil
        case "glyphs":
            let cache = try GlyphCache(path: data.path)
            guard cache.training.imageShape == options.imageShape else {
                throw ConfigurationError(
                    key: "data.image_size",
                    problem:
                        "with data.image_width and data.channels asks for \(options.imageShape?.description ?? ""); \(data.path) has \(cache.training.imageShape)"
                )
            }
            samples = .images(try Self.select(cache.training, data))
            heldOut = cache.heldOut
        default:
            let all: any ImageDataset =
                data.kind == "rec"
                ? try RecordDataset(path: data.path, options: options)
                : try FolderDataset(root: data.path, options: options)
            let selected = try Self.select(all, data)
            if data.heldOutClasses > 0 {
                let split = try ClassSelection.split(
                    selected, heldOutClasses: data.heldOutClasses, seed: configuration.seed)
                samples = .images(split.training)
                heldOut = split.heldOut
            } else {
                samples = .images(selected)
                heldOut = nil
            }
        }
        let labels: Int
        var former: String?
        switch samples {
        case .images(let dataset):
            opening = dataset.opening
            labels = dataset.classCount
            former = dataset.formerFingerprint.map { String($0, radix: 16) }
        case .features(let features):
            opening = OpeningReport()
            labels = features.classCount
        }
        classCount = data.classes > 0 ? data.classes : labels
        if !data.fingerprint.isEmpty && data.fingerprint != fingerprint && data.fingerprint != former {
            throw ConfigurationError(
                key: "data.path",
                problem:
                    "\(data.path) here has fingerprint \(fingerprint), the run was planned for \(data.fingerprint): the data differ"
            )
        }
    }

    private static func select(_ dataset: any ImageDataset, _ data: RunConfiguration.Data) throws -> any ImageDataset {
        guard data.maximumClasses > 0 || data.minimumImages > 1 else { return dataset }
        let classes = data.maximumClasses > 0 ? min(data.maximumClasses, dataset.classCount) : dataset.classCount
        return try ClassSelection(of: dataset, labels: 0..<classes, minimumImages: data.minimumImages)
    }

    /// One more than the largest label.
    public var labelCount: Int {
        switch samples {
        case .images(let dataset): dataset.classCount
        case .features(let features): features.classCount
        }
    }

    /// The class of a sample, before any operation on the classes.
    public func label(of sample: Int) -> Int {
        switch samples {
        case .images(let dataset): dataset.label(of: sample)
        case .features(let features): Int(features.labels.span(Int64.self)[sample])
        }
    }

    /// Number of samples to train on.
    public var sampleCount: Int {
        switch samples {
        case .images(let dataset): dataset.sampleCount
        case .features(let features): features.sampleCount
        }
    }

    /// A number that differs when the samples do, in hexadecimal.
    public var fingerprint: String {
        switch samples {
        case .images(let dataset): String(dataset.fingerprint, radix: 16)
        case .features(let features): String(features.fingerprint, radix: 16)
        }
    }
}
