public import Cluster
public import Configuration
public import Model
public import ParameterStore
public import StepProtocol

/// A run configuration in the terms of the modules that compute it.
///
/// Made from a configuration whose numbers of classes and samples are known, by every process alike.
public struct RunSetup: Sendable {
    public let configuration: RunConfiguration
    public let head: HeadConfiguration
    public let backbone: BackboneConfiguration
    public let layout: ParameterLayout
    public let optimizer: DenseOptimizer
    public let schedule: LearningRateSchedule
    /// Values of the head by step.
    public let headSchedule: HeadSchedule
    public let exchange: Exchange
    /// Why this exchange was chosen.
    public let exchangeReason: String

    /// - Throws: `ConfigurationError`, `BackboneError` or `HeadError` that names what does not fit.
    public init(_ configuration: RunConfiguration) throws {
        try configuration.validate()
        guard configuration.data.classes > 0 else {
            throw ConfigurationError(key: "data.classes", problem: "is not known; the data was not read")
        }
        guard configuration.totalSteps > 0 else {
            throw ConfigurationError(key: "schedule", problem: "has no step: set schedule.steps or schedule.epochs")
        }
        let head = configuration.head
        self.head = HeadConfiguration(
            classCount: configuration.data.classes, embeddingSize: configuration.backbone.embeddingSize,
            sliceCount: head.slices, seed: configuration.seed, scale: Double(head.scale),
            margins: HeadMargins(m1: Double(head.m1), m2: Double(head.m2), m3: Double(head.m3)),
            interclassFilter: Double(head.interclassFilter), sampleRate: head.sampleRate,
            sampling: head.samplingRule,
            optimizer: try configuration.rule, storage: try head.rows,
            rounding: try head.roundingOfUpdates,
            compute: try head.computation(embeddingSize: configuration.backbone.embeddingSize),
            exchangedRows: try head.exchangedRows, exchangedGradients: try head.exchangedGradients,
            servesJob: configuration.isExternal)
        _ = try self.head.validate()
        headSchedule = HeadSchedule(configuration, usual: self.head.values)
        if configuration.importsNetwork {
            let network = try ImportedNetwork(configuration)
            layout = network.layout
            backbone = layout.configuration
            self.configuration = network.configuration
        } else {
            backbone = try configuration.backboneShape()
            layout = try ParameterLayout(backbone, frozen: configuration.backbone.frozen ?? [])
            self.configuration = configuration
        }
        let rate = configuration.backbone.dropout ?? 0
        guard rate == 0 || layout.graph?.hasDropout == true else {
            throw ConfigurationError(
                key: "backbone.dropout",
                problem:
                    "is \(rate), but \(backbone.name) has no dropout layer; the iresnets have one, before the last linear layer"
            )
        }
        let clip = configuration.optimizer.clipNorm
        optimizer = DenseOptimizer(
            rule: try configuration.rule, decay: configuration.optimizer.decay == "weights" ? .weights : .all,
            clipNorm: clip > 0 ? clip : .infinity)
        schedule = LearningRateSchedule(
            base: Double(configuration.schedule.learningRate), warmUpSteps: configuration.warmupSteps,
            totalSteps: configuration.totalSteps,
            power: configuration.jobSetsRate ? 0 : configuration.schedule.decayPower)
        guard try head.isExchangeExact || head.exchange == "rows" else {
            throw ConfigurationError(
                key: "head.exchange",
                problem:
                    "is \(head.exchange), but head.exchange_rows \(head.exchangeRows) and head.exchange_gradients \(head.exchangeGradients) round what the exchange rows moves: set head.exchange to rows, or them to auto and f32"
            )
        }
        switch head.exchange {
        case "auto" where configuration.isExternal:
            (exchange, exchangeReason) = (.features, "features: the network is a job's, which need not hold rows")
        case "auto" where configuration.cluster.copies ?? 1 > 1:
            (exchange, exchangeReason) = (
                .features, "features: every shard's log must be about every slice (cluster.copies)"
            )
        case "rows": (exchange, exchangeReason) = (.rows, "rows: as configured")
        case "features": (exchange, exchangeReason) = (.features, "features: as configured")
        default:
            // What the busiest step moves: the exchange is chosen once.
            let sampled = max(
                Int(headSchedule.largestSampleRate * Double(configuration.data.classes)), configuration.batch.size)
            (exchange, exchangeReason) = ExchangeChoice.automatic(
                batch: configuration.batch.size, embeddingSize: configuration.backbone.embeddingSize,
                sampledRows: sampled, workers: configuration.cluster.workers, shards: configuration.cluster.shards,
                rowByteCount: try head.exchangedRows.byteCount(width: configuration.backbone.embeddingSize))
        }
    }
}

extension RunSetup {
    /// What a plan names that this run does not have, or nil.
    ///
    /// A plan that trains must also have each slice exactly once: what computes it takes that for granted.
    public func misfit(of plan: Plan) -> String? {
        let dense = configuration.denseSliceCount
        let misfit = plan.misfit(
            microBatchCount: configuration.microBatchCount, sliceCount: head.sliceCount, denseSliceCount: dense,
            totalSteps: configuration.totalSteps)
        if misfit != nil || plan.activity != .train { return misfit }
        return gap(plan.shards.map(\.slices), count: head.sliceCount, "slice")
            ?? gap(plan.shards.map(\.denseSlices), count: dense, "dense slice")
    }

    /// The safetensors file that the backbone starts from; empty if it starts from what the layout gives.
    public var initialBackbone: String { layout.isImported ? "" : configuration.backbone.initial }

    /// The classes after operations.
    ///
    /// - Throws: `CenterStoreError` if an operation does not fit the classes before it.
    public func classes(after operations: [ClassOperation]) throws(CenterStoreError) -> ClassRegistry {
        try ClassRegistry(classCount: head.classCount, sliceCount: head.sliceCount, operations: operations)
    }

    /// The first slice that is in none or in several of `sets`, in words.
    private func gap(_ sets: [SliceSet], count: Int, _ name: String) -> String? {
        var owners = [Int](repeating: 0, count: count)
        for slice in sets.flatMap(\.numbers) { owners[slice] += 1 }
        return owners.firstIndex { $0 != 1 }.map { "\(name) \($0) of \(count) with \(owners[$0]) owners" }
    }

    /// The classes of a range of slices.
    public func classes(ofSlices slices: Range<Int>) -> Range<Int> {
        head.classCount * slices.lowerBound / head.sliceCount..<head.classCount * slices.upperBound / head.sliceCount
    }
}

extension RunConfiguration {
    /// The shape of the backbone.
    ///
    /// - Throws: `BackboneError` if the name is unknown or the input does not fit.
    func backboneShape() throws -> BackboneConfiguration {
        if backbone.name == "none" || isExternal { return .identity(embeddingSize: backbone.embeddingSize) }
        var shape = try BackboneConfiguration.named(
            backbone.name, channels: data.channels, height: data.imageSize, width: data.width,
            embeddingSize: backbone.embeddingSize)
        if !backbone.depths.isEmpty { shape.depths = backbone.depths }
        if !backbone.widths.isEmpty {
            shape.widths = backbone.widths
            shape.stemWidth = backbone.widths[0]
        }
        try shape.validate()
        return shape
    }
}
