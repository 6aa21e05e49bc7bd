/// What the head's own kernels, those of `bf16` and `fma`, run on: from the least to the most.
///
/// All of them give the same bits; what they differ in is time.
public enum HeadKernels: String, Sendable, Hashable, CaseIterable, Comparable {
    /// Without vectors of fused multiply-adds: slow.
    case portable
    case avx2
    case avx512f
    /// Multiplies bf16 numbers in hardware; the others emulate it.
    case avx512bf16

    /// The least that computes in `compute` at full speed; nil if the head's own kernels are not needed.
    public init?(for compute: Compute) {
        switch compute {
        case .f32: return nil
        case .fma: self = .avx2
        case .bf16: self = .avx512bf16
        }
    }

    public static func < (a: HeadKernels, b: HeadKernels) -> Bool {
        (allCases.firstIndex(of: a) ?? 0) < (allCases.firstIndex(of: b) ?? 0)
    }
}

extension Compute {
    /// What `head.compute: auto` is in a run whose first member has these kernels, of those that rows in bf16 can be multiplied in: the
    /// fastest.
    public init(fastestOn kernels: HeadKernels, embeddingSize: Int) {
        if kernels >= .avx512bf16, Compute.bf16.suits(embeddingSize: embeddingSize) {
            self = .bf16
        } else {
            self = kernels >= .avx2 ? .fma : .f32
        }
    }
}
