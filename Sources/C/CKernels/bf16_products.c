// The products of bf16.h: the same source for every instruction set, and the choice among them.
#include "bf16.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef float floats __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));

#define load_words(p) (*(const words_anywhere *)(const void *)(p))
#define load_floats(p) (*(const floats_anywhere *)(const void *)(p))
#define store_floats(p, v) (*(floats_anywhere *)(void *)(p) = (v))
#define broadcast(p) ((words){0} + *(const uint32_t_anywhere *)(const void *)(p))
typedef floats floats_anywhere __attribute__((aligned(4), may_alias));
typedef words words_anywhere __attribute__((aligned(4), may_alias));
typedef uint32_t uint32_t_anywhere __attribute__((aligned(2), may_alias));

/// The second of each pair first: the order of VDPBF16PS.
#define PFC_DOT_FMA(sum, a, b)                                                       \
    __builtin_elementwise_fma(                                                       \
        (floats)((a) << 16), (floats)((b) << 16),                                    \
        __builtin_elementwise_fma((floats)((a)&0xffff0000u), (floats)((b)&0xffff0000u), (sum)))

#if defined(__x86_64__)
#define PFC_NAME(name) name##_avx512bf16
#define PFC_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,fma")))
#define PFC_DOT(sum, a, b) (floats) _mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b))
#define PFC_ROW_BLOCK 12
#define PFC_BLOCK 4
#define PFC_VECTORS 4
#include "bf16_kernels.h"

#define PFC_NAME(name) name##_avx512f
#define PFC_TARGET __attribute__((target("avx512f,fma")))
#define PFC_DOT PFC_DOT_FMA
#define PFC_ROW_BLOCK 8
#define PFC_BLOCK 4
#define PFC_VECTORS 4
#include "bf16_kernels.h"

#define PFC_NAME(name) name##_avx2
#define PFC_TARGET __attribute__((target("avx2,fma")))
#define PFC_DOT PFC_DOT_FMA
#define PFC_ROW_BLOCK 2
#define PFC_BLOCK 2
#define PFC_VECTORS 2
#include "bf16_kernels.h"
#endif

#define PFC_NAME(name) name##_portable
#define PFC_TARGET
#define PFC_DOT PFC_DOT_FMA
#define PFC_ROW_BLOCK 1
#define PFC_BLOCK 1
#define PFC_VECTORS 1
#include "bf16_kernels.h"

typedef struct {
    const char *name;
    void (*products)(const uint32_t *, ptrdiff_t, const uint16_t *, ptrdiff_t, ptrdiff_t, float *);
    void (*numerator)(const uint32_t *, ptrdiff_t, const uint32_t *, ptrdiff_t, ptrdiff_t, ptrdiff_t, float *);
    void (*row_gradient)(const pfc_bf16_leaf *, ptrdiff_t, ptrdiff_t, ptrdiff_t, float *);
} kernels;

#define PFC_SET(set) {#set, products_##set, numerator_##set, row_gradient_##set}
static const kernels all[] = {
#if defined(__x86_64__)
    PFC_SET(avx512bf16), PFC_SET(avx512f), PFC_SET(avx2),
#endif
    PFC_SET(portable),
};

static int is_supported(const char *name) {
#if defined(__x86_64__)
    if (strcmp(name, "avx512bf16") == 0)
        return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl");
    if (strcmp(name, "avx512f") == 0) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
    if (strcmp(name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return 1;
}

static const kernels *chosen(void) {
    // Written with the same value by whoever is first.
    static const kernels *choice;
    if (choice) return choice;
    const char *pinned = getenv("PARTIALFC_BF16_KERNELS");
    int from = 0;
    if (pinned)
        for (int i = 0; i < (int)(sizeof all / sizeof all[0]); i++)
            if (strcmp(pinned, all[i].name) == 0) from = i;
    for (int i = from;; i++)
        if (is_supported(all[i].name)) return choice = &all[i];
}

const char *pfc_bf16_instruction_set(void) { return chosen()->name; }

void pfc_bf16_products(
    const uint32_t *features, ptrdiff_t lanes, const uint16_t *rows, ptrdiff_t row_count, ptrdiff_t size,
    float *products) {
    chosen()->products(features, lanes, rows, row_count, size, products);
}

void pfc_bf16_numerator(
    const uint32_t *coefficients, ptrdiff_t lanes, const uint32_t *rows, ptrdiff_t pairs, ptrdiff_t size,
    ptrdiff_t samples, float *numerator) {
    chosen()->numerator(coefficients, lanes, rows, pairs, size, samples, numerator);
}

void pfc_bf16_row_gradient(
    const pfc_bf16_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t row_count, ptrdiff_t size, float *gradient) {
    chosen()->row_gradient(leaves, leaf_count, row_count, size, gradient);
}
