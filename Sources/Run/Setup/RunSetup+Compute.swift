internal import Configuration
public import Model
public import ParameterStore

/// What `head.compute: auto` and `backbone.compute: auto` leave to the run's first member.
extension RunSetup {
    /// Whether the first member's processor is still to decide.
    public var isComputeOpen: Bool { isHeadOpen || isBackboneOpen }
    private var isHeadOpen: Bool { configuration.head.compute == RunConfiguration.Head.openCompute }
    private var isBackboneOpen: Bool { configuration.backbone.compute == RunConfiguration.Head.openCompute }

    /// What the backbone is trained in; f32 while it is open.
    public var backboneCompute: BackboneCompute {
        configuration.backbone.compute.flatMap(BackboneCompute.init) ?? .f32
    }

    /// `backbone.exchange_gradients`.
    public var exchangedDenseGradients: NumberFormat {
        configuration.backbone.exchangeGradients.flatMap(NumberFormat.init) ?? .f32
    }

    /// How gradients of the backbone are rounded in a step, if they are.
    public func denseGradientRounding(step: Int) -> DenseGradientRounding? {
        exchangedDenseGradients == .bf16 ? DenseGradientRounding(seed: configuration.seed, step: step) : nil
    }

    /// The least kernels of members that can compute what `open` had left to the first of them; nil for any.
    public func leastKernels(since open: RunSetup) -> HeadKernels? {
        if open.isBackboneOpen, backboneCompute == .bf16 { return .avx512bf16 }
        return open.isHeadOpen ? HeadKernels(for: head.compute) : nil
    }

    /// The same run with what it computes in decided.
    ///
    /// - Parameter kernels: of the first member; nil if it does not say: the head in bf16 then, which all can emulate, the backbone in f32.
    /// - Throws: what `init` throws.
    public func deciding(by kernels: HeadKernels?) throws -> RunSetup {
        let size = head.embeddingSize
        var decided = configuration
        if isHeadOpen {
            let compute = kernels.map { Compute(fastestOn: $0, embeddingSize: size) } ?? head.compute
            decided.head.compute = compute.rawValue
        }
        if isBackboneOpen {
            let compute = BackboneCompute(fastestOn: kernels)
            decided.backbone.compute = compute == .f32 ? nil : compute.rawValue
        }
        return try RunSetup(decided)
    }
}
