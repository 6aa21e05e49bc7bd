#pragma once
// Sums over one row, in double precision over a fixed number of lanes that are combined in a fixed order.
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "head_math.h"

enum { lanes = 16 };

/// A row shorter than this has no direction: its cosines count as 0 and it gets no gradient.
static const double pfc_shortest = 1e-15;

// Vectors, since the compiler makes too little of a loop over lanes.
typedef double doubles __attribute__((vector_size(8 * lanes)));
typedef float floats_anywhere __attribute__((vector_size(4 * lanes), aligned(4), may_alias));

/// Sixteen numbers from `values` on.
#define pfc_doubles(values) __builtin_convertvector(*(const floats_anywhere *)(const void *)(values), doubles)

PFC_INLINE double combine(const double *lane) {
    double s[lanes];
    for (int k = 0; k < lanes; k++) s[k] = lane[k];
    for (int step = lanes / 2; step > 0; step /= 2)
        for (int k = 0; k < step; k++) s[k] += s[k + step];
    return s[0];
}

/// <a, b>, in double precision.
PFC_INLINE double dot(const float *a, const float *b, ptrdiff_t size) {
    doubles sums = {0};
    ptrdiff_t j = 0;
    for (; j + lanes <= size; j += lanes) sums += pfc_doubles(a + j) * pfc_doubles(b + j);
    double lane[lanes];
    memcpy(lane, &sums, sizeof lane);
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
    // As `dot` sums <w, w> and <h, w>, in one pass.
    doubles square_sums = {0}, product_sums = {0};
    ptrdiff_t j = 0;
    for (; j + lanes <= size; j += lanes) {
        doubles values = pfc_doubles(w + j);
        square_sums += values * values;
        product_sums += pfc_doubles(h + j) * values;
    }
    double squares[lanes], products[lanes];
    memcpy(squares, &square_sums, sizeof squares);
    memcpy(products, &product_sums, sizeof products);
    for (int k = 0; j + k < size; k++) {
        squares[k] += (double)w[j + k] * (double)w[j + k];
        products[k] += (double)h[j + k] * (double)w[j + k];
    }
    double norm = sqrt(combine(squares)), inverse = norm < pfc_shortest ? 0.0 : 1.0 / norm;
    *outer = (float)(scale_over_batch * inverse);
    *inner = (float)(combine(products) * inverse * inverse);
}
