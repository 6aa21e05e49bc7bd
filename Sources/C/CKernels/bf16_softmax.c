// The softmax of one tile of rows, a lane per sample.
#include "bf16.h"
#include "bf16_round.h"
#include "head.h"
#include "head_math.h"

enum { width = pfc_bf16_lanes, unit = 32767, left_out = -32768 };

/// 32767 times a clamped cosine, to the nearest: through the low bits of a large number.
PFC_INLINE pfc_cosine quantized(float c) {
    c = c > 1.0f ? 1.0f : c;
    c = c < -1.0f ? -1.0f : c;
    return (pfc_cosine)(pfc_bits_of_float(c * (float)unit + 0x1.8p23f) - 0x4b400000);
}

PFC_CLONES void pfc_bf16_cosines(
    const float *products, const float *inverse_norms, const int32_t *targets, ptrdiff_t lanes, ptrdiff_t rows,
    pfc_cosine *restrict cosines) {
    for (ptrdiff_t j = 0; j < rows; j++) {
        const float *p = products + j * lanes;
        float inverse = inverse_norms[j];
        for (ptrdiff_t i = 0; i < lanes; i++) cosines[j * lanes + i] = quantized(p[i] * inverse);
    }
    // Targets are kept apart: their probability is found from the others (see pfc_head_finish).
    for (ptrdiff_t i = 0; i < lanes; i++)
        if (targets[i] >= 0) cosines[targets[i] * lanes + i] = left_out;
}

/// How a logit follows from a cosine.
typedef struct {
    float scale;
    int32_t filter;
} logits;

PFC_INLINE logits logits_of(const pfc_head_margin *margin) {
    float filter = margin->filter * (float)unit;
    return (logits){(float)(margin->scale / unit), filter < (float)unit ? (int32_t)filter : unit};
}

/// The logit of what counts in the softmax: a filtered class has cosine 0. A large negative number for what is left out.
PFC_INLINE float logit(logits of, int32_t cosine) {
    float z = cosine > of.filter ? 0.0f : of.scale * (float)cosine;
    return cosine == left_out ? -3e38f : z;
}

/// exp(z - top) of a row's cosines, added to `sum`; over |w| as bf16 where it counts for the gradient.
PFC_INLINE void exponentials(
    logits of, const pfc_cosine *cosines, float inverse_norm, const float *top, float *sum, uint32_t *coefficients) {
    for (int k = 0; k < width; k++) {
        int32_t c = cosines[k];
        float e = pfc_expf(logit(of, c) - top[k]);
        sum[k] += e;
        coefficients[k] = pfc_bf16_nearest(c > of.filter ? 0.0f : e * inverse_norm);
    }
}

PFC_CLONES void pfc_bf16_softmax_tile(
    const pfc_head_margin *margin, const pfc_cosine *cosines, const float *inverse_norms, ptrdiff_t lanes,
    ptrdiff_t rows, float *maximum, float *sum, uint32_t *restrict coefficients) {
    logits of = logits_of(margin);
    for (ptrdiff_t lane = 0; lane < lanes; lane += width) {
        float top[width], total[width];
        for (int k = 0; k < width; k++) top[k] = -3e38f, total[k] = 0.0f;
        for (ptrdiff_t j = 0; j < rows; j++)
            for (int k = 0; k < width; k++) {
                float z = logit(of, cosines[j * lanes + lane + k]);
                top[k] = z > top[k] ? z : top[k];
            }
        // Nothing but what is left out: no sum, and a maximum below every other.
        float from[width];
        for (int k = 0; k < width; k++) from[k] = top[k] < -1e38f ? 0.0f : top[k];
        for (ptrdiff_t j = 0; j < rows; j += 2) {
            uint32_t first[width], second[width] = {0};
            exponentials(of, cosines + j * lanes + lane, inverse_norms[j], from, total, first);
            if (j + 1 < rows)
                exponentials(of, cosines + (j + 1) * lanes + lane, inverse_norms[j + 1], from, total, second);
            for (int k = 0; k < width; k++) coefficients[j / 2 * lanes + lane + k] = first[k] | second[k] << 16;
        }
        for (int k = 0; k < width; k++) {
            maximum[lane + k] = top[k] < -1e38f ? -INFINITY : top[k];
            sum[lane + k] = total[k];
        }
    }
}

PFC_CLONES void pfc_bf16_probabilities(
    const pfc_head_margin *margin, const pfc_cosine *cosines, const double *log_z, ptrdiff_t samples, ptrdiff_t lanes,
    ptrdiff_t rows, uint16_t *restrict probabilities) {
    logits of = logits_of(margin);
    for (ptrdiff_t lane = 0; lane < lanes; lane += width) {
        float normalizer[width];
        // A lane without a sample has no probabilities.
        for (int k = 0; k < width; k++) normalizer[k] = lane + k < samples ? (float)log_z[lane + k] : 3e38f;
        for (ptrdiff_t j = 0; j < rows; j++)
            for (int k = 0; k < width; k++) {
                int32_t c = cosines[j * lanes + lane + k];
                float p = pfc_expf(logit(of, c) - normalizer[k]);
                probabilities[j * lanes + lane + k] = (uint16_t)pfc_bf16_nearest(c > of.filter ? 0.0f : p);
            }
    }
}

float pfc_bf16_target_coefficient(float target_logit, float target_derivative, double log_z) {
    return (float)(pfc_expm1((double)target_logit - log_z) * (double)target_derivative);
}
