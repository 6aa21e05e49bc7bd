package import CKernels
public import Cluster
public import ParameterStore

/// Everything that the result of the head depends on, besides the data.
public struct HeadConfiguration: Sendable, Hashable, Codable {
    /// Number of classes C.
    public var classCount: Int
    /// Floats per embedding D.
    public var embeddingSize: Int
    /// Number of slices the classes are cut into, a power of two: part of the run, not of the cluster.
    public var sliceCount: Int
    /// Key of everything random.
    public var seed: UInt64
    /// Scale s of the logits.
    public var scale: Double
    public var margins: HeadMargins
    /// Interclass filter τ: other classes with a cosine above it count as cosine 0 and get no gradient. 0 turns it off.
    public var interclassFilter: Double
    /// Fraction r of the classes that take part in a step, in 0...1. 0 means the classes of the batch alone.
    public var sampleRate: Double
    /// How they are shared out among slices.
    public var sampling: SamplingRule
    /// How sampled rows change.
    public var optimizer: Optimizer
    /// How rows are kept between steps: f32 or bf16.
    public var storage: NumberFormat
    /// How updated rows, and what the optimiser keeps, are rounded into a format of fewer bits.
    public var rounding: Rounding
    /// What the products of features and centers are computed in.
    public var compute: Compute
    /// How rows are sent to workers in a `rows` exchange: f32, bf16 or int8, rounded to nearest.
    public var exchangedRows: NumberFormat
    /// How their gradients are sent back: f32, or bf16 with stochastic rounding.
    public var exchangedGradients: NumberFormat
    /// Whether the samples are those of a job from outside: some may have no class, and each may come with margins and a weight of
    /// its own.
    public var servesJob: Bool

    public init(
        classCount: Int, embeddingSize: Int, sliceCount: Int = 16, seed: UInt64 = 0, scale: Double = 64,
        margins: HeadMargins = .cosFace(), interclassFilter: Double = 0, sampleRate: Double = 0.1,
        sampling: SamplingRule = .shared,
        optimizer: Optimizer = .sgd(.init()), storage: NumberFormat = .f32,
        rounding: Rounding = .stochastic, compute: Compute = .f32, exchangedRows: NumberFormat? = nil,
        exchangedGradients: NumberFormat = .f32, servesJob: Bool = false
    ) {
        self.classCount = classCount
        self.embeddingSize = embeddingSize
        self.sliceCount = sliceCount
        self.seed = seed
        self.scale = scale
        self.margins = margins
        self.interclassFilter = interclassFilter
        self.sampleRate = sampleRate
        self.sampling = sampling
        self.optimizer = optimizer
        self.storage = storage
        self.rounding = rounding
        self.compute = compute
        self.exchangedRows = exchangedRows ?? storage
        self.exchangedGradients = exchangedGradients
        self.servesJob = servesJob
    }

    /// How the planes of the table are kept.
    public var format: TableFormat { TableFormat(rows: storage, state: optimizer.rowState) }

    /// Checks every value.
    ///
    /// - Returns: how the classes are cut into slices.
    /// - Throws: `HeadError` that names the value and what it may be.
    @discardableResult
    public func validate() throws(HeadError) -> SliceLayout {
        func check(_ valid: Bool, _ name: String, _ value: Double, _ allowed: String) throws(HeadError) {
            guard valid else { throw HeadError(.configuration, "\(name) is \(value); it must be \(allowed)") }
        }
        guard (1...CenterTable.embeddingLimit).contains(embeddingSize) else {
            throw HeadError(
                .configuration,
                "the embedding size is \(embeddingSize); it must be in 1...\(CenterTable.embeddingLimit)")
        }
        try check(scale > 0 && scale <= 300, "the scale", scale, "above 0 and at most 300")
        if let problem = margins.problem { throw HeadError(.configuration, problem) }
        try check(
            (0...1).contains(interclassFilter), "the interclass filter", interclassFilter, "0 (off) or a cosine up to 1"
        )
        try check((0...1).contains(sampleRate), "the sample rate", sampleRate, "in 0...1")
        if let problem = optimizer.problem { throw HeadError(.configuration, problem) }
        guard compute.suits(embeddingSize: embeddingSize) else {
            throw HeadError(
                .configuration,
                "products in bf16 need an embedding size that is a multiple of 16, not \(embeddingSize): use compute f32"
            )
        }
        guard format.isPossible else {
            throw HeadError(.configuration, "rows cannot be kept as \(storage): use f32 or bf16")
        }
        guard exchangedRows != .none, exchangedRows.byteCount(width: 4) <= storage.byteCount(width: 4) else {
            throw HeadError(
                .configuration,
                "rows kept as \(storage) cannot be sent as \(exchangedRows): use \(storage) or a shorter format"
            )
        }
        guard exchangedGradients == .f32 || exchangedGradients == .bf16 else {
            throw HeadError(
                .configuration, "gradients of rows cannot be sent as \(exchangedGradients): use f32 or bf16")
        }
        do { return try SliceLayout(classCount: classCount, sliceCount: sliceCount) } catch {
            throw HeadError(.configuration, error.message)
        }
    }

    /// The classes at the beginning of the run, or `registry` if it belongs to this configuration.
    ///
    /// - Throws: `HeadError` if a value is impossible or the registry is of another run.
    package func checkedRegistry(_ registry: ClassRegistry?) throws(HeadError) -> ClassRegistry {
        try validate()
        do {
            let first = try ClassRegistry(classCount: classCount, sliceCount: sliceCount)
            guard let registry else { return first }
            guard registry.baseClassCount == classCount, registry.layout.sliceCount == sliceCount else {
                throw HeadError(
                    .configuration,
                    "class operations on \(registry.baseClassCount) classes in \(registry.layout.sliceCount) slices do not belong to a run of \(classCount) in \(sliceCount)"
                )
            }
            return registry
        } catch let error as HeadError { throw error } catch { throw HeadError(.configuration, "\(error)") }
    }

    /// The values that may be others in another step: these hold where a step says none.
    public var values: HeadValues {
        get {
            HeadValues(
                sampleRate: sampleRate, m1: margins.m1, m2: margins.m2, m3: margins.m3, scale: scale,
                interclassFilter: interclassFilter)
        }
        set {
            (sampleRate, scale, interclassFilter) = (newValue.sampleRate, newValue.scale, newValue.interclassFilter)
            margins = newValue.margins
        }
    }
}

extension HeadValues {
    /// The margins of the target logit.
    public var margins: HeadMargins { HeadMargins(m1: m1, m2: m2, m3: m3) }

    /// What the kernels read.
    package var kernelMargin: pfc_head_margin {
        pfc_head_margin(
            scale: scale, m1: m1, m2: m2, m3: m3, filter: interclassFilter > 0 ? Float(interclassFilter) : .infinity)
    }
}
