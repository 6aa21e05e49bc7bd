#include "backbone.h"

#include <math.h>

#if defined(__x86_64__) && defined(__linux__)
#define PFC_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PFC_CLONES
#endif

/* Rows whose sum is kept in float before it is added to the double total. */
#define CHUNK 512

PFC_CLONES static void column_sums(
    const float *restrict x, size_t rows, size_t channels, double *restrict total, float *restrict partial) {
    for (size_t c = 0; c < channels; c++) total[c] = 0;
    for (size_t begin = 0; begin < rows; begin += CHUNK) {
        size_t end = begin + CHUNK < rows ? begin + CHUNK : rows, r = begin;
        for (size_t c = 0; c < channels; c++) partial[c] = 0;
        for (; r + 8 <= end; r += 8) {
            const float *p = x + r * channels;
            for (size_t c = 0; c < channels; c++) {
                const float *q = p + c;
                partial[c] += ((q[0] + q[channels]) + (q[2 * channels] + q[3 * channels])) +
                              ((q[4 * channels] + q[5 * channels]) + (q[6 * channels] + q[7 * channels]));
            }
        }
        for (; r < end; r++)
            for (size_t c = 0; c < channels; c++) partial[c] += x[r * channels + c];
        for (size_t c = 0; c < channels; c++) total[c] += partial[c];
    }
}

PFC_CLONES static void column_squares(
    const float *restrict x, size_t rows, size_t channels, const float *restrict mean, double *restrict total,
    float *restrict partial) {
    for (size_t c = 0; c < channels; c++) total[c] = 0;
    for (size_t begin = 0; begin < rows; begin += CHUNK) {
        size_t end = begin + CHUNK < rows ? begin + CHUNK : rows, r = begin;
        for (size_t c = 0; c < channels; c++) partial[c] = 0;
        for (; r + 4 <= end; r += 4) {
            const float *p = x + r * channels;
            for (size_t c = 0; c < channels; c++) {
                float m = mean[c];
                float a = p[c] - m, b = p[c + channels] - m, e = p[c + 2 * channels] - m, f = p[c + 3 * channels] - m;
                partial[c] += (a * a + b * b) + (e * e + f * f);
            }
        }
        for (; r < end; r++)
            for (size_t c = 0; c < channels; c++) {
                float a = x[r * channels + c] - mean[c];
                partial[c] += a * a;
            }
        for (size_t c = 0; c < channels; c++) total[c] += partial[c];
    }
}

void pfc_norm_moments(
    const float *x, size_t rows, size_t channels, float *mean, float *variance, double *work) {
    float *partial = (float *)(work + channels);
    column_sums(x, rows, channels, work, partial);
    for (size_t c = 0; c < channels; c++) mean[c] = (float)(work[c] / (double)rows);
    column_squares(x, rows, channels, mean, work, partial);
    for (size_t c = 0; c < channels; c++) variance[c] = (float)(work[c] / (double)rows);
}

void pfc_norm_coefficients(
    const float *weight, const float *bias, const float *mean, const float *variance, float epsilon, size_t channels,
    float *scale, float *shift, float *inverse) {
    for (size_t c = 0; c < channels; c++) {
        inverse[c] = 1.0f / sqrtf(variance[c] + epsilon);
        scale[c] = weight[c] * inverse[c];
        shift[c] = bias[c] - mean[c] * scale[c];
    }
}

PFC_CLONES void pfc_norm_apply(
    const float *restrict x, size_t rows, size_t channels, const float *restrict scale, const float *restrict shift,
    const float *restrict slope, const float *restrict residual, float *restrict y) {
    for (size_t r = 0; r < rows; r++) {
        const float *restrict a = x + r * channels;
        float *restrict b = y + r * channels;
        if (slope) {
            for (size_t c = 0; c < channels; c++) {
                float z = a[c] * scale[c] + shift[c];
                b[c] = z > 0 ? z : z * slope[c];
            }
        } else if (residual) {
            const float *restrict d = residual + r * channels;
            for (size_t c = 0; c < channels; c++) b[c] = (a[c] * scale[c] + shift[c]) + d[c];
        } else {
            for (size_t c = 0; c < channels; c++) b[c] = a[c] * scale[c] + shift[c];
        }
    }
    if (slope && residual) pfc_add(y, residual, rows * channels);
}

PFC_CLONES static void sums_plain(
    const float *restrict dy, const float *restrict x, size_t rows, size_t channels, const float *restrict mean,
    float *restrict s0, float *restrict s1) {
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const float *restrict g = dy + r * channels, *restrict p = x + r * channels;
        for (size_t c = 0; c < channels; c++) {
            float m = mean[c];
            float a = g[c], b = g[c + channels], d = g[c + 2 * channels], e = g[c + 3 * channels];
            s0[c] += (a + b) + (d + e);
            s1[c] += (a * (p[c] - m) + b * (p[c + channels] - m)) +
                     (d * (p[c + 2 * channels] - m) + e * (p[c + 3 * channels] - m));
        }
    }
    for (; r < rows; r++)
        for (size_t c = 0; c < channels; c++) {
            float a = dy[r * channels + c];
            s0[c] += a;
            s1[c] += a * (x[r * channels + c] - mean[c]);
        }
}

PFC_CLONES static void sums_prelu(
    const float *restrict dy, const float *restrict x, size_t rows, size_t channels, const float *restrict mean,
    const float *restrict scale, const float *restrict shift, const float *restrict slope, float *restrict s0,
    float *restrict s1, float *restrict s2) {
    for (size_t r = 0; r < rows; r++) {
        const float *restrict g = dy + r * channels, *restrict p = x + r * channels;
        for (size_t c = 0; c < channels; c++) {
            float z = p[c] * scale[c] + shift[c];
            float d = z > 0 ? g[c] : g[c] * slope[c];
            s0[c] += d;
            s1[c] += d * (p[c] - mean[c]);
            s2[c] += z > 0 ? 0.0f : g[c] * z;
        }
    }
}

void pfc_norm_backward_sums(
    const float *dy, const float *x, size_t rows, size_t channels, const float *mean, const float *scale,
    const float *shift, const float *slope, double *sums, float *work) {
    for (size_t i = 0; i < 3 * channels; i++) sums[i] = 0;
    for (size_t begin = 0; begin < rows; begin += CHUNK) {
        size_t n = rows - begin < CHUNK ? rows - begin : CHUNK, at = begin * channels;
        for (size_t i = 0; i < 3 * channels; i++) work[i] = 0;
        if (slope)
            sums_prelu(
                dy + at, x + at, n, channels, mean, scale, shift, slope, work, work + channels, work + 2 * channels);
        else
            sums_plain(dy + at, x + at, n, channels, mean, work, work + channels);
        for (size_t i = 0; i < 3 * channels; i++) sums[i] += work[i];
    }
}

PFC_CLONES void pfc_norm_backward_apply(
    const float *restrict dy, const float *restrict x, size_t rows, size_t channels, const float *restrict mean,
    const float *restrict scale, const float *restrict shift, const float *restrict inverse,
    const float *restrict slope, const double *restrict sums, const float *restrict other, float *restrict dx,
    float *restrict work) {
    float *restrict k0 = work, *restrict k1 = work + channels;
    double count = (double)rows;
    for (size_t c = 0; c < channels; c++) {
        double i = inverse[c];
        k0[c] = (float)(-scale[c] * (sums[c] / count));
        k1[c] = (float)(-scale[c] * (i * i * (sums[channels + c] / count)));
    }
    for (size_t r = 0; r < rows; r++) {
        const float *restrict g = dy + r * channels, *restrict p = x + r * channels;
        float *restrict o = dx + r * channels;
        if (slope) {
            for (size_t c = 0; c < channels; c++) {
                float z = p[c] * scale[c] + shift[c];
                float d = z > 0 ? g[c] : g[c] * slope[c];
                o[c] = (scale[c] * d + k1[c] * (p[c] - mean[c])) + k0[c];
            }
        } else if (other) {
            const float *restrict q = other + r * channels;
            for (size_t c = 0; c < channels; c++)
                o[c] = ((scale[c] * g[c] + k1[c] * (p[c] - mean[c])) + k0[c]) + q[c];
        } else {
            for (size_t c = 0; c < channels; c++) o[c] = (scale[c] * g[c] + k1[c] * (p[c] - mean[c])) + k0[c];
        }
    }
    if (slope && other) pfc_add(dx, other, rows * channels);
}

void pfc_nchw_to_nhwc(const float *source, size_t samples, size_t channels, size_t pixels, float *target) {
    for (size_t n = 0; n < samples; n++)
        for (size_t c = 0; c < channels; c++) {
            const float *plane = source + (n * channels + c) * pixels;
            float *image = target + n * channels * pixels + c;
            for (size_t p = 0; p < pixels; p++) image[p * channels] = plane[p];
        }
}
