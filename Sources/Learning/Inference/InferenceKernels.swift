internal import CInference
public import Model

/// The instruction set that the engine's kernels use. All of them give the same bits.
public struct InferenceKernels: Sendable, Hashable {
    let isa: pfi_isa

    /// The best set of this processor, or what PARTIALFC_INFERENCE_KERNELS names.
    ///
    /// - Throws: `BackboneError` if that names no set, or one that the processor lacks.
    public static func best() throws(BackboneError) -> InferenceKernels {
        var problem: UnsafePointer<CChar>?
        let isa = pfi_default_isa(&problem)
        if let problem { throw BackboneError(.invalidConfiguration, String(cString: problem)) }
        return InferenceKernels(isa: isa)
    }

    /// Every set that this processor has.
    public static var all: [InferenceKernels] {
        [PFI_PORTABLE, PFI_AVX2, PFI_AVX512, PFI_AVX512_VNNI, PFI_NEON].filter { pfi_has_isa($0) != 0 }
            .map(InferenceKernels.init)
    }

    public var name: String { String(cString: pfi_isa_name(isa)) }
}
