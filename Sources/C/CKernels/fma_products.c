// The kernels of fma.h: the same source for every instruction set, and the choice among them.
#include "fma.h"

#include <math.h>
#include <string.h>

#include "bf16.h"
#include "head_math.h"

// Of this kind, so that C has `condition ? a : b` for them.
typedef float floats __attribute__((ext_vector_type(16)));
typedef uint32_t words __attribute__((ext_vector_type(16)));
typedef floats floats_anywhere __attribute__((aligned(4), may_alias));

#define load_floats(p) (*(const floats_anywhere *)(const void *)(p))
#define store_floats(p, v) (*(floats_anywhere *)(void *)(p) = (v))
#define splat(x) ((floats)(x))

/// Dimensions of a panel of a row gradient; what marks a cosine that is left out, and from where on one is.
enum { width = 16 };
static const float left_out = -2.0f, left_out_below = -1.5f;

/// Lines that each of `blocks` blocks asks for.
static ptrdiff_t lines_per_block(const pfc_ahead *ahead, ptrdiff_t blocks) {
    ptrdiff_t lines = 0;
    if (ahead)
        for (ptrdiff_t i = ahead->next; i < ahead->count; i++) lines += (ahead->pieces[i].byte_count + 63) / 64;
    return (lines + blocks - 1) / blocks;
}

static inline void ask_for(pfc_ahead *ahead, ptrdiff_t lines) {
    if (!ahead) return;
    for (; lines > 0 && ahead->next < ahead->count; lines--) {
        const pfc_piece *piece = ahead->pieces + ahead->next;
        __builtin_prefetch((const char *)piece->start + ahead->offset, 0, 2);
        ahead->offset += 64;
        if (ahead->offset >= piece->byte_count) ahead->offset = 0, ahead->next++;
    }
}

// Vectors as arguments and results: only of functions that are always inlined.
#pragma clang diagnostic ignored "-Wpsabi"

#if defined(__x86_64__)
#define PFC_NAME(name) name##_avx512f
#define PFC_TARGET __attribute__((target("avx512f,fma")))
#define PFC_ROWS 12
#define PFC_VECTORS 2
#include "fma_kernels.h"

#define PFC_NAME(name) name##_avx2
#define PFC_TARGET __attribute__((target("avx2,fma")))
#define PFC_ROWS 6
#define PFC_VECTORS 1
#include "fma_kernels.h"
#endif

#define PFC_NAME(name) name##_portable
#define PFC_TARGET
#if defined(__aarch64__)
#define PFC_ROWS 4
#else
#define PFC_ROWS 1
#endif
#define PFC_VECTORS 1
#include "fma_kernels.h"

typedef struct {
    const char *name;
    void (*cosines)(const float *, ptrdiff_t, const float *, ptrdiff_t, ptrdiff_t, float *);
    void (*numerator)(
        const float *, ptrdiff_t, const float *, ptrdiff_t, ptrdiff_t, ptrdiff_t, const float *, const float *,
        pfc_ahead *, float *);
    void (*row_gradient)(
        const pfc_fma_leaf *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, pfc_ahead *, float *);
    void (*softmax_tile)(const pfc_head_margin *, float *, ptrdiff_t, ptrdiff_t, float *, float *, float *);
    void (*probabilities)(
        const pfc_head_margin *, const float *, const double *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, float *);
} kernels;

#define PFC_SET(set) \
    {#set, cosines_##set, numerator_##set, row_gradient_##set, softmax_tile_##set, probabilities_##set}
static const kernels all[] = {
#if defined(__x86_64__)
    PFC_SET(avx512f), PFC_SET(avx2),
#endif
    PFC_SET(portable),
};

static const kernels *chosen(void) {
    // Written with the same value by whoever is first.
    static const kernels *choice;
    if (choice) return choice;
    const char *set = pfc_bf16_instruction_set();
    if (strcmp(set, "avx512bf16") == 0) set = "avx512f";
    const kernels *found = all;
    while (strcmp(found->name, set) != 0) found++;
    return choice = found;
}

const char *pfc_fma_instruction_set(void) { return chosen()->name; }

void pfc_fma_cosines(
    const float *directions, ptrdiff_t lanes, const float *rows, ptrdiff_t padded, ptrdiff_t size, float *cosines) {
    chosen()->cosines(directions, lanes, rows, padded, size, cosines);
}

void pfc_fma_numerator(
    const float *e, ptrdiff_t lanes, const float *rows, ptrdiff_t row_count, ptrdiff_t padded, ptrdiff_t size,
    const float *kept, const float *added, pfc_ahead *ahead, float *numerator) {
    chosen()->numerator(e, lanes, rows, row_count, padded, size, kept, added, ahead, numerator);
}

void pfc_fma_row_gradient(
    const pfc_fma_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t padded,
    ptrdiff_t size, pfc_ahead *ahead, float *gradient) {
    chosen()->row_gradient(leaves, leaf_count, samples, lanes, padded, size, ahead, gradient);
}

void pfc_fma_softmax_tile(
    const pfc_head_margin *margin, float *cosines, const int32_t *targets, ptrdiff_t lanes, ptrdiff_t rows,
    float *maximum, float *sum, float *e) {
    // Targets are kept apart: their probability is found from the others (see pfc_head_finish).
    for (ptrdiff_t i = 0; i < lanes; i++)
        if (targets[i] >= 0) cosines[targets[i] * lanes + i] = left_out;
    chosen()->softmax_tile(margin, cosines, lanes, rows, maximum, sum, e);
}

void pfc_fma_add_tile(
    ptrdiff_t lanes, const float *tile_maximum, const float *tile_sum, float *maximum, float *sum, float *kept,
    float *added) {
    for (ptrdiff_t i = 0; i < lanes; i++) {
        float top = tile_maximum[i] > maximum[i] ? tile_maximum[i] : maximum[i];
        kept[i] = maximum[i] == top ? 1.0f : pfc_expf(maximum[i] - top);
        added[i] = tile_maximum[i] == top ? 1.0f : pfc_expf(tile_maximum[i] - top);
        sum[i] = kept[i] * sum[i] + added[i] * tile_sum[i];
        maximum[i] = top;
    }
}

void pfc_fma_coefficients(
    const pfc_head_margin *margin, const float *cosines, const int32_t *targets, const double *normalizers, const double *log_z,
    const float *target_logits, const float *target_derivatives, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t rows,
    ptrdiff_t padded, float *coefficients) {
    chosen()->probabilities(margin, cosines, normalizers, samples, lanes, rows, padded, coefficients);
    for (ptrdiff_t i = 0; i < samples; i++)
        if (targets[i] >= 0)
            coefficients[targets[i] * lanes + i] =
                pfc_bf16_target_coefficient(target_logits[i], target_derivatives[i], log_z[i]);
}
