#include "backbone.h"

#if defined(__x86_64__) && defined(__linux__)
#define PFC_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PFC_CLONES
#endif

PFC_CLONES void pfc_add(float *restrict a, const float *restrict b, size_t count) {
    for (size_t i = 0; i < count; i++) a[i] += b[i];
}

PFC_CLONES void pfc_sum(float *restrict out, const float *restrict a, const float *restrict b, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = a[i] + b[i];
}

PFC_CLONES double pfc_squared_norm(const float *restrict a, size_t count) {
    double lane[16] = {0};
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (int k = 0; k < 16; k++) lane[k] += (double)a[i + k] * (double)a[i + k];
    for (int k = 0; i < count; i++, k++) lane[k] += (double)a[i] * (double)a[i];
    for (int width = 8; width > 0; width /= 2)
        for (int k = 0; k < width; k++) lane[k] += lane[k + width];
    return lane[0];
}

PFC_CLONES int pfc_all_finite(const float *restrict a, size_t count) {
    /* x · 0 is zero for finite x and NaN otherwise; NaN sticks. */
    float lane[16] = {0};
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (int k = 0; k < 16; k++) lane[k] += a[i + k] * 0.0f;
    for (int k = 0; i < count; i++, k++) lane[k] += a[i] * 0.0f;
    int finite = 1;
    for (int k = 0; k < 16; k++) finite &= lane[k] == 0.0f;
    return finite;
}

PFC_CLONES void pfc_sgd(
    const float *restrict p, const float *restrict v, const float *restrict g, size_t count, float clip, float rate,
    float momentum, float decay, float *restrict p_next, float *restrict v_next) {
    for (size_t i = 0; i < count; i++) {
        float step = momentum * v[i] + (clip * g[i] + decay * p[i]);
        v_next[i] = step;
        p_next[i] = p[i] - rate * step;
    }
}

PFC_CLONES void pfc_running_statistics(
    const float *restrict running, const float *restrict sum, size_t count, float momentum, float batches,
    float *restrict next) {
    for (size_t i = 0; i < count; i++) next[i] = (1.0f - momentum) * running[i] + momentum * (sum[i] / batches);
}
