// Which instruction set the kernels of inference use.
#include "kernels.h"

#include <stdlib.h>

static const char *const names[] = {"portable", "avx2", "avx512", "avx512-vnni", "neon"};
enum { name_count = sizeof names / sizeof names[0] };

const char *pfi_isa_name(pfi_isa isa) { return (unsigned)isa < name_count ? names[isa] : "unknown"; }

int pfi_has_isa(pfi_isa isa) {
    switch (isa) {
    case PFI_PORTABLE: return 1;
#if defined(__x86_64__)
    case PFI_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case PFI_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
    case PFI_AVX512_VNNI: return pfi_has_isa(PFI_AVX512) && __builtin_cpu_supports("avx512vnni");
#endif
#if defined(__aarch64__)
    case PFI_NEON: return 1;
#endif
    default: return 0;
    }
}

const pfi_kernels *pfi_kernels_of(pfi_isa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case PFI_AVX2: return &pfi_kernels_avx2;
    case PFI_AVX512: return &pfi_kernels_avx512;
    case PFI_AVX512_VNNI: return &pfi_kernels_avx512_vnni;
#endif
#if defined(__aarch64__)
    case PFI_NEON: return &pfi_kernels_neon;
#endif
    default: return &pfi_kernels_portable;
    }
}

pfi_isa pfi_default_isa(const char **problem) {
    // Written with the same values by whoever is first.
    static const char *_Atomic complaint;
    static _Atomic int known;  // the set + 1
    if (!known) {
        pfi_isa best = PFI_PORTABLE;
        for (int i = 0; i < name_count; i++)
            if (pfi_has_isa((pfi_isa)i)) best = (pfi_isa)i;
        const char *wanted = getenv("PARTIALFC_INFERENCE_KERNELS");
        if (wanted && *wanted) {
            int i = 0;
            while (i < name_count && strcmp(wanted, names[i]) != 0) i++;
            if (i == name_count)
                complaint = "PARTIALFC_INFERENCE_KERNELS must be portable, avx2, avx512, avx512-vnni or neon";
            else if (!pfi_has_isa((pfi_isa)i))
                complaint = "PARTIALFC_INFERENCE_KERNELS names an instruction set that this processor does not have";
            else
                best = (pfi_isa)i;
        }
        known = (int)best + 1;
    }
    if (problem) *problem = complaint;
    return (pfi_isa)(known - 1);
}
