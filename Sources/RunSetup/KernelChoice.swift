internal import Backbone
internal import COpenBLAS

/// Which kernels the libraries chose for this processor: what is left of the same bits anywhere.
public enum KernelChoice {
    /// For instance `openblas SkylakeX, onednn avx512_core`.
    public static var description: String {
        let core = openblas_get_corename().map { String(cString: $0) } ?? "unknown"
        return "openblas \(core), onednn \(InstructionSet.effective)"
    }
}
