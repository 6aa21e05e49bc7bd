#pragma once
// Sums over one row, in double precision over a fixed number of lanes that are combined in a fixed order.
#include <math.h>
#include <stddef.h>

#include "head_math.h"

enum { lanes = 16 };

/// A row shorter than this has no direction: its cosines count as 0 and it gets no gradient.
static const double pfc_shortest = 1e-15;

PFC_INLINE double combine(const double *lane) {
    double s[lanes];
    for (int k = 0; k < lanes; k++) s[k] = lane[k];
    for (int step = lanes / 2; step > 0; step /= 2)
        for (int k = 0; k < step; k++) s[k] += s[k + step];
    return s[0];
}

/// <a, b>, in double precision.
PFC_INLINE double dot(const float *a, const float *b, ptrdiff_t size) {
    double lane[lanes] = {0};
    ptrdiff_t j = 0;
    for (; j + lanes <= size; j += lanes)
        for (int k = 0; k < lanes; k++) lane[k] += (double)a[j + k] * (double)b[j + k];
    for (int k = 0; j + k < size; k++) lane[k] += (double)a[j + k] * (double)b[j + k];
    return combine(lane);
}

PFC_INLINE double inverse_norm(const float *row, ptrdiff_t size) {
    double norm = sqrt(dot(row, row, size));
    return norm < pfc_shortest ? 0.0 : 1.0 / norm;
}

/// The two factors of the gradient outer * (h - inner * w).
PFC_INLINE void gradient_factors(
    const float *w, const float *h, double scale_over_batch, ptrdiff_t size, float *outer, float *inner) {
    double inverse = inverse_norm(w, size);
    *outer = (float)(scale_over_batch * inverse);
    *inner = (float)(dot(h, w, size) * inverse * inverse);
}
