#include <string.h>

#include "head_math.h"
#include "operators.h"

/// erf(x): Abramowitz and Stegun, 7.1.26, absolute error below 1.5e-7.
PFC_INLINE double erf_of(double x) {
    double a = x < 0 ? -x : x;
    double t = 1.0 / (1.0 + 0.3275911 * a);
    double p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    double y = 1.0 - p * pfc_exp(-a * a);
    return x < 0 ? -y : y;
}

PFC_INLINE double sigmoid_of(double x) { return 1.0 / (1.0 + pfc_exp(-x)); }

PFC_INLINE double tanh_of(double x) { return 1.0 - 2.0 / (pfc_exp(2.0 * x) + 1.0); }

PFC_INLINE float clip_of(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

/// Φ(x) of the standard normal distribution.
PFC_INLINE double normal_of(double x) { return 0.5 * (1.0 + erf_of(x * 0.70710678118654752)); }

#define EACH(expression) \
    for (size_t i = 0; i < count; i++) y[i] = (expression)

PFC_CLONES void pfc_activate(
    pfc_activation kind, float a, float b, const float *restrict x, size_t count, float *restrict y) {
    switch (kind) {
        case PFC_RELU: EACH(x[i] > 0 ? x[i] : 0.0f); break;
        case PFC_CLIP: EACH(clip_of(x[i], a, b)); break;
        case PFC_LEAKY_RELU: EACH(x[i] > 0 ? x[i] : a * x[i]); break;
        case PFC_SIGMOID: EACH((float)sigmoid_of(x[i])); break;
        case PFC_TANH: EACH((float)tanh_of(x[i])); break;
        case PFC_HARD_SIGMOID: EACH(clip_of(x[i] / 6.0f + 0.5f, 0.0f, 1.0f)); break;
        case PFC_HARD_SWISH: EACH(x[i] * clip_of(x[i] / 6.0f + 0.5f, 0.0f, 1.0f)); break;
        case PFC_GELU: EACH((float)(x[i] * normal_of(x[i]))); break;
        case PFC_SILU: EACH((float)(x[i] * sigmoid_of(x[i]))); break;
    }
}

PFC_INLINE double gelu_slope(double x) {
    return normal_of(x) + x * 0.39894228040143268 * pfc_exp(-0.5 * x * x);
}

PFC_INLINE double silu_slope(double x) {
    double s = sigmoid_of(x);
    return s * (1.0 + x * (1.0 - s));
}

PFC_INLINE double sigmoid_slope(double x) {
    double s = sigmoid_of(x);
    return s * (1.0 - s);
}

PFC_INLINE double tanh_slope(double x) {
    double t = tanh_of(x);
    return 1.0 - t * t;
}

PFC_INLINE float hard_swish_slope(float x) { return x <= -3 ? 0.0f : (x >= 3 ? 1.0f : x / 3.0f + 0.5f); }

#define EACH_SLOPE(expression) \
    for (size_t i = 0; i < count; i++) dx[i] = dy[i] * (float)(expression)

PFC_CLONES void pfc_activate_backward(
    pfc_activation kind, float a, float b, const float *restrict x, const float *restrict dy, size_t count,
    float *restrict dx) {
    switch (kind) {
        case PFC_RELU: EACH_SLOPE(x[i] > 0 ? 1.0f : 0.0f); break;
        case PFC_CLIP: EACH_SLOPE(x[i] > a && x[i] < b ? 1.0f : 0.0f); break;
        case PFC_LEAKY_RELU: EACH_SLOPE(x[i] > 0 ? 1.0f : a); break;
        case PFC_SIGMOID: EACH_SLOPE(sigmoid_slope(x[i])); break;
        case PFC_TANH: EACH_SLOPE(tanh_slope(x[i])); break;
        case PFC_HARD_SIGMOID: EACH_SLOPE(x[i] > -3 && x[i] < 3 ? 1.0f / 6.0f : 0.0f); break;
        case PFC_HARD_SWISH: EACH_SLOPE(hard_swish_slope(x[i])); break;
        case PFC_GELU: EACH_SLOPE(gelu_slope(x[i])); break;
        case PFC_SILU: EACH_SLOPE(silu_slope(x[i])); break;
    }
}

PFC_CLONES void pfc_prelu(
    const float *restrict x, size_t rows, size_t channels, const float *restrict slope, float *restrict y) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < channels; c++) {
            float a = x[r * channels + c];
            y[r * channels + c] = a > 0 ? a : a * slope[c];
        }
}

/* Rows whose sum is kept in float before it is added to the double total, as in backbone_normalize.c. */
#define CHUNK 512

PFC_CLONES void pfc_prelu_backward(
    const float *restrict dy, const float *restrict x, size_t rows, size_t channels, const float *restrict slope,
    float *restrict dx, double *restrict sums, float *restrict work) {
    for (size_t c = 0; c < channels; c++) sums[c] = 0;
    for (size_t begin = 0; begin < rows; begin += CHUNK) {
        size_t end = begin + CHUNK < rows ? begin + CHUNK : rows;
        for (size_t c = 0; c < channels; c++) work[c] = 0;
        for (size_t r = begin; r < end; r++)
            for (size_t c = 0; c < channels; c++)
                work[c] += x[r * channels + c] > 0 ? 0.0f : dy[r * channels + c] * x[r * channels + c];
        for (size_t c = 0; c < channels; c++) sums[c] += work[c];
    }
    if (!dx) return;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < channels; c++) {
            size_t i = r * channels + c;
            dx[i] = x[i] > 0 ? dy[i] : dy[i] * slope[c];
        }
}

PFC_INLINE float combine(pfc_binary_kind kind, float a, float b) {
    switch (kind) {
        case PFC_ADD: return a + b;
        case PFC_SUBTRACT: return a - b;
        case PFC_MULTIPLY: return a * b;
        default: return a / b;
    }
}

/// Visits the rows of a broadcast: `body` sees the offsets of the row in both operands and in the result.
#define ROWS(shape)                                                                                         \
    size_t last = (shape)->rank - 1, width = (shape)->extents[last], place[PFC_MAX_RANK] = {0}, rows = 1;   \
    for (size_t axis = 0; axis < last; axis++) rows *= (shape)->extents[axis];                              \
    size_t at_a = 0, at_b = 0, step_a = (shape)->a[last], step_b = (shape)->b[last];                        \
    for (size_t row = 0; row < rows; row++, next_row((shape), place, &at_a, &at_b))

PFC_INLINE void next_row(const pfc_broadcast *shape, size_t *place, size_t *at_a, size_t *at_b) {
    for (size_t axis = shape->rank - 1; axis-- > 0;) {
        *at_a += shape->a[axis];
        *at_b += shape->b[axis];
        if (++place[axis] < shape->extents[axis]) return;
        *at_a -= shape->a[axis] * shape->extents[axis];
        *at_b -= shape->b[axis] * shape->extents[axis];
        place[axis] = 0;
    }
}

PFC_CLONES static void binary_row(
    pfc_binary_kind kind, const float *restrict a, size_t step_a, const float *restrict b, size_t step_b,
    float *restrict y, size_t count) {
    if (step_a == 1 && step_b == 1) {
        switch (kind) {
            case PFC_ADD: for (size_t i = 0; i < count; i++) y[i] = a[i] + b[i]; break;
            case PFC_SUBTRACT: for (size_t i = 0; i < count; i++) y[i] = a[i] - b[i]; break;
            case PFC_MULTIPLY: for (size_t i = 0; i < count; i++) y[i] = a[i] * b[i]; break;
            case PFC_DIVIDE: for (size_t i = 0; i < count; i++) y[i] = a[i] / b[i]; break;
        }
    } else {
        for (size_t i = 0; i < count; i++) y[i] = combine(kind, a[i * step_a], b[i * step_b]);
    }
}

void pfc_binary(pfc_binary_kind kind, const pfc_broadcast *shape, const float *a, const float *b, float *y) {
    ROWS(shape) binary_row(kind, a + at_a, step_a, b + at_b, step_b, y + row * width, width);
}

PFC_CLONES void pfc_binary_backward(
    pfc_binary_kind kind, const pfc_broadcast *shape, const float *a, const float *b, const float *dy, float *da,
    float *db) {
    ROWS(shape) {
        const float *g = dy + row * width;
        for (size_t i = 0; i < width; i++) {
            size_t p = at_a + i * step_a, q = at_b + i * step_b;
            switch (kind) {
                case PFC_ADD:
                    if (da) da[p] += g[i];
                    if (db) db[q] += g[i];
                    break;
                case PFC_SUBTRACT:
                    if (da) da[p] += g[i];
                    if (db) db[q] -= g[i];
                    break;
                case PFC_MULTIPLY:
                    if (da) da[p] += g[i] * b[q];
                    if (db) db[q] += g[i] * a[p];
                    break;
                case PFC_DIVIDE:
                    if (da) da[p] += g[i] / b[q];
                    if (db) db[q] -= g[i] * a[p] / (b[q] * b[q]);
                    break;
            }
        }
    }
}
