/// What convolutions and linear layers of the backbone are trained in.
///
/// Parameters, their gradients and their optimiser are f32 in either case, and so is everything between these layers.
public enum BackboneCompute: String, Codable, Sendable, Hashable, CaseIterable {
    /// Single precision.
    case f32
    /// Operands are rounded to the nearest bf16 number, products are summed in single precision. Convolutions in groups, whose time is
    /// that of memory, stay in single precision.
    case bf16

    /// Why a processor cannot compute in it, nil if it can.
    public func problem(multipliesBF16: Bool, instructionSet: String) -> String? {
        guard self == .bf16, !multipliesBF16 else { return nil }
        return
            "backbone.compute bf16 takes a processor with AVX512-BF16 or AMX, and this one has \(instructionSet): use one that has it, or begin a run with backbone.compute f32, or auto"
    }

    /// What `backbone.compute: auto` is in a run whose first member has these kernels: bf16 where the processor multiplies it.
    public init(fastestOn kernels: HeadKernels?) { self = kernels.map { $0 >= .avx512bf16 } == true ? .bf16 : .f32 }
}
