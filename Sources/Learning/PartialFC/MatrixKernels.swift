internal import COpenBLAS

/// Which kernels OpenBLAS chose for this processor, on which the rounding of the head's products depends.
public enum MatrixKernels {
    /// For instance `openblas SkylakeX`.
    public static var description: String {
        "openblas \(openblas_get_corename().map { String(cString: $0) } ?? "unknown")"
    }
}
