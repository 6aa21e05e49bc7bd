internal import COneDNN
public import Model

/// The instruction set that oneDNN generates its kernels for.
///
/// Kernels for different sets may round differently, so a run records the set and can pin it: any machine that has a set
/// computes the same bits with it.
public enum InstructionSet: String, Sendable, CaseIterable, Codable {
    case sse41 = "sse4.1"
    case avx
    case avx2
    case avx2VNNI = "avx2-vnni"
    case avx512 = "avx512"
    case avx512VNNI = "avx512-vnni"
    case avx512BF16 = "avx512-bf16"
    case amx

    private var code: dnnl_cpu_isa_t {
        switch self {
        case .sse41: dnnl_cpu_isa_sse41
        case .avx: dnnl_cpu_isa_avx
        case .avx2: dnnl_cpu_isa_avx2
        case .avx2VNNI: dnnl_cpu_isa_avx2_vnni
        case .avx512: dnnl_cpu_isa_avx512_core
        case .avx512VNNI: dnnl_cpu_isa_avx512_core_vnni
        case .avx512BF16: dnnl_cpu_isa_avx512_core_bf16
        case .amx: dnnl_cpu_isa_avx512_core_amx
        }
    }

    /// The name of the set in use; "generic" on a processor with none of them. Asking fixes it for the process.
    public static var effective: String {
        let code = dnnl_get_effective_cpu_isa()
        return allCases.first { $0.code == code }?.rawValue ?? "generic"
    }

    /// Whether the set in use multiplies bf16 numbers in hardware.
    public static var multipliesBF16: Bool { [avx512BF16, amx].contains { $0.rawValue == effective } }

    /// Pins the set by name ("auto" for no pin): oneDNN then uses nothing beyond it. Call it before anything else of this
    /// module.
    ///
    /// - Throws: `BackboneError` if the name is unknown, the processor lacks the set, or kernels exist already.
    public static func pin(_ name: String) throws(BackboneError) {
        if name == "auto" { return }
        guard let set = Self(rawValue: name) else {
            throw BackboneError(
                .invalidConfiguration,
                "there is no instruction set named \"\(name)\"; choose one of auto, \(allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        let status = dnnl_set_max_cpu_isa(set.code)
        guard effective == set.rawValue else {
            throw BackboneError(
                .oneDNN,
                status == dnnl_success
                    ? "this processor has no \(name); its best is \(effective)"
                    : "the instruction set is already fixed to \(effective); pin \(name) at the start of the process")
        }
    }
}
