// The partial softmax: one tile of rows at a time, with exact rescaling when the maximum grows.
#include "head.h"
#include "head_math.h"

enum { lanes = 16 };

PFC_INLINE float clamp_cosine(float c) {
    c = c > 1.0f ? 1.0f : c;
    return c < -1.0f ? -1.0f : c;
}

PFC_INLINE float lane_maximum(const float *values, ptrdiff_t count) {
    float lane[lanes];
    for (int k = 0; k < lanes; k++) lane[k] = -INFINITY;
    ptrdiff_t j = 0;
    for (; j + lanes <= count; j += lanes)
        for (int k = 0; k < lanes; k++) lane[k] = values[j + k] > lane[k] ? values[j + k] : lane[k];
    for (int k = 0; j + k < count; k++) lane[k] = values[j + k] > lane[k] ? values[j + k] : lane[k];
    for (int step = lanes / 2; step > 0; step /= 2)
        for (int k = 0; k < step; k++) lane[k] = lane[k + step] > lane[k] ? lane[k + step] : lane[k];
    return lane[0];
}

PFC_INLINE float lane_sum(const float *values, ptrdiff_t count) {
    float lane[lanes] = {0};
    ptrdiff_t j = 0;
    for (; j + lanes <= count; j += lanes)
        for (int k = 0; k < lanes; k++) lane[k] += values[j + k];
    for (int k = 0; j + k < count; k++) lane[k] += values[j + k];
    for (int step = lanes / 2; step > 0; step /= 2)
        for (int k = 0; k < step; k++) lane[k] += lane[k + step];
    return lane[0];
}

/// What values relative to `from` are multiplied with to be relative to `to` >= `from`; -infinity stands for no value.
PFC_INLINE float rescale(float from, float to) { return from == to ? 1.0f : pfc_expf(from - to); }

PFC_CLONES void pfc_head_softmax_tile(
    const pfc_head_margin *margin, ptrdiff_t samples, ptrdiff_t rows, ptrdiff_t size, float *products,
    const float *inverse_norms, const int32_t *targets, float *restrict scratch, float *maximum, float *sum,
    float *numerator) {
    float scale = (float)margin->scale, filter = margin->filter;
    for (ptrdiff_t i = 0; i < samples; i++) {
        float *restrict p = products + i * rows;
        for (ptrdiff_t j = 0; j < rows; j++) {
            float c = clamp_cosine(p[j] * inverse_norms[j]);
            scratch[j] = c > filter ? 0.0f : scale * c;
        }
        // The target is kept apart: its probability is found from the others (see pfc_head_finish).
        if (targets[i] >= 0) scratch[targets[i]] = -INFINITY;
        float best = lane_maximum(scratch, rows);
        float top = best > maximum[i] ? best : maximum[i];
        if (top == -INFINITY) {
            for (ptrdiff_t j = 0; j < rows; j++) p[j] = 0.0f;
            continue;
        }
        for (ptrdiff_t j = 0; j < rows; j++) {
            float e = pfc_expf(scratch[j] - top);
            scratch[j] = e;
            p[j] = clamp_cosine(p[j] * inverse_norms[j]) > filter ? 0.0f : e * inverse_norms[j];
        }
        float factor = rescale(maximum[i], top);
        sum[i] = sum[i] * factor + lane_sum(scratch, rows);
        if (factor != 1.0f)
            for (ptrdiff_t j = 0; j < size; j++) numerator[i * size + j] *= factor;
        maximum[i] = top;
    }
}

PFC_CLONES void pfc_head_coefficients(
    const pfc_head_margin *margin, ptrdiff_t samples, ptrdiff_t rows, float *products, const float *inverse_norms,
    const int32_t *targets, const double *normalizers, const double *log_z, const float *target_logits,
    const float *target_derivatives) {
    float scale = (float)margin->scale, filter = margin->filter;
    for (ptrdiff_t i = 0; i < samples; i++) {
        float *restrict p = products + i * rows;
        float normalizer = (float)normalizers[i];
        for (ptrdiff_t j = 0; j < rows; j++) {
            float c = clamp_cosine(p[j] * inverse_norms[j]);
            float probability = pfc_expf(scale * c - normalizer);
            p[j] = c > filter ? 0.0f : probability;
        }
        if (targets[i] >= 0)
            p[targets[i]] = (float)(pfc_expm1((double)target_logits[i] - log_z[i]) * (double)target_derivatives[i]);
    }
}

PFC_CLONES void pfc_head_merge(
    ptrdiff_t samples, ptrdiff_t size, const float *maximum_a, const float *sum_a, const float *numerator_a,
    const float *maximum_b, const float *sum_b, const float *numerator_b, float *maximum, float *sum, float *numerator) {
    for (ptrdiff_t i = 0; i < samples; i++) {
        float top = maximum_b[i] > maximum_a[i] ? maximum_b[i] : maximum_a[i];
        float fa = rescale(maximum_a[i], top), fb = rescale(maximum_b[i], top);
        const float *a = numerator_a + i * size, *b = numerator_b + i * size;
        float *out = numerator + i * size;
        for (ptrdiff_t j = 0; j < size; j++) out[j] = fa * a[j] + fb * b[j];
        sum[i] = fa * sum_a[i] + fb * sum_b[i];
        maximum[i] = top;
    }
}
