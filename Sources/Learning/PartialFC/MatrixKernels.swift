internal import CKernels
internal import COpenBLAS
public import Model

/// Which kernels OpenBLAS chose for this processor, on which the rounding of the head's products depends.
public enum MatrixKernels {
    /// For instance `openblas SkylakeX`.
    public static var description: String {
        "openblas \(openblas_get_corename().map { String(cString: $0) } ?? "unknown")"
    }

    /// What the head's own kernels run on here.
    public static var ofHead: HeadKernels {
        HeadKernels(rawValue: String(cString: pfc_bf16_instruction_set())) ?? .portable
    }
}
