internal import Configuration
public import Model

/// What `head.compute: auto` leaves to the run's first member.
extension RunSetup {
    /// Whether the first member's processor is still to decide.
    public var isComputeOpen: Bool { configuration.head.compute == RunConfiguration.Head.openCompute }

    /// The same run with what it computes in decided.
    ///
    /// - Parameter kernels: of the first member; nil if it does not say: bf16 then, which all can emulate.
    /// - Throws: what `init` throws.
    public func deciding(by kernels: HeadKernels?) throws -> RunSetup {
        let size = head.embeddingSize
        var decided = configuration
        let compute = kernels.map { Compute(fastestOn: $0, embeddingSize: size) } ?? head.compute
        decided.head.compute = compute.rawValue
        return try RunSetup(decided)
    }
}
