#include <math.h>
#include <string.h>

#include "head_math.h"
#include "operators.h"

/// The part of a window that lies inside the image.
typedef struct {
    size_t y0, y1, x0, x1;
    /// Pixels of the window, with the padding but not what lies beyond it.
    size_t padded;
} pfc_reach;

PFC_INLINE pfc_reach reach_of(const pfc_window *w, size_t oy, size_t ox) {
    size_t y0 = oy * w->stride_height, x0 = ox * w->stride_width;
    size_t y1 = y0 + w->kernel_height, x1 = x0 + w->kernel_width;
    size_t last_y = w->height + w->top + w->bottom, last_x = w->width + w->left + w->right;
    pfc_reach r;
    r.padded = ((y1 < last_y ? y1 : last_y) - y0) * ((x1 < last_x ? x1 : last_x) - x0);
    r.y0 = y0 < w->top ? 0 : y0 - w->top;
    r.x0 = x0 < w->left ? 0 : x0 - w->left;
    r.y1 = y1 < w->top ? 0 : y1 - w->top;
    r.x1 = x1 < w->left ? 0 : x1 - w->left;
    if (r.y1 > w->height) r.y1 = w->height;
    if (r.x1 > w->width) r.x1 = w->width;
    if (r.y0 > r.y1) r.y0 = r.y1;
    if (r.x0 > r.x1) r.x0 = r.x1;
    return r;
}

PFC_INLINE size_t divisor(const pfc_window *w, const pfc_reach *r) {
    size_t inside = (r->y1 - r->y0) * (r->x1 - r->x0);
    size_t count = w->counts_padding ? r->padded : inside;
    return count ? count : 1;
}

#define WINDOWS(w)                                        \
    for (size_t n = 0; n < (w)->samples; n++)             \
        for (size_t oy = 0; oy < (w)->out_height; oy++)   \
            for (size_t ox = 0; ox < (w)->out_width; ox++)

#define PIXELS(r)                               \
    for (size_t iy = (r).y0; iy < (r).y1; iy++) \
        for (size_t ix = (r).x0; ix < (r).x1; ix++)

PFC_INLINE size_t input_at(const pfc_window *w, size_t n, size_t y, size_t x) {
    return ((n * w->height + y) * w->width + x) * w->channels;
}

PFC_INLINE size_t output_at(const pfc_window *w, size_t n, size_t y, size_t x) {
    return ((n * w->out_height + y) * w->out_width + x) * w->channels;
}

PFC_CLONES void pfc_pool_maximum(const pfc_window *w, const float *restrict x, float *restrict y) {
    WINDOWS(w) {
        pfc_reach r = reach_of(w, oy, ox);
        float *restrict out = y + output_at(w, n, oy, ox);
        for (size_t c = 0; c < w->channels; c++) out[c] = -INFINITY;
        PIXELS(r) {
            const float *restrict in = x + input_at(w, n, iy, ix);
            // A NaN stays.
            for (size_t c = 0; c < w->channels; c++) out[c] = in[c] <= out[c] ? out[c] : in[c];
        }
    }
}

PFC_CLONES void pfc_pool_average(const pfc_window *w, const float *restrict x, float *restrict y) {
    WINDOWS(w) {
        pfc_reach r = reach_of(w, oy, ox);
        float *restrict out = y + output_at(w, n, oy, ox);
        float scale = 1.0f / (float)divisor(w, &r);
        for (size_t c = 0; c < w->channels; c++) out[c] = 0;
        PIXELS(r) {
            const float *restrict in = x + input_at(w, n, iy, ix);
            for (size_t c = 0; c < w->channels; c++) out[c] += in[c];
        }
        for (size_t c = 0; c < w->channels; c++) out[c] *= scale;
    }
}

void pfc_pool_maximum_backward(const pfc_window *w, const float *x, const float *dy, float *dx) {
    memset(dx, 0, w->samples * w->height * w->width * w->channels * sizeof(float));
    WINDOWS(w) {
        pfc_reach r = reach_of(w, oy, ox);
        const float *g = dy + output_at(w, n, oy, ox);
        for (size_t c = 0; c < w->channels; c++) {
            size_t best = SIZE_MAX;
            float most = -INFINITY;
            PIXELS(r) {
                size_t at = input_at(w, n, iy, ix) + c;
                if (best == SIZE_MAX || !(x[at] <= most)) {
                    most = x[at];
                    best = at;
                }
            }
            if (best != SIZE_MAX) dx[best] += g[c];
        }
    }
}

PFC_CLONES void pfc_pool_average_backward(const pfc_window *w, const float *restrict dy, float *restrict dx) {
    memset(dx, 0, w->samples * w->height * w->width * w->channels * sizeof(float));
    WINDOWS(w) {
        pfc_reach r = reach_of(w, oy, ox);
        const float *restrict g = dy + output_at(w, n, oy, ox);
        float scale = 1.0f / (float)divisor(w, &r);
        PIXELS(r) {
            float *restrict out = dx + input_at(w, n, iy, ix);
            for (size_t c = 0; c < w->channels; c++) out[c] += g[c] * scale;
        }
    }
}

void pfc_permute(const float *x, size_t rank, const size_t *extents, const size_t *strides, float *y) {
    size_t place[PFC_MAX_RANK] = {0}, rows = 1, at = 0;
    size_t last = rank - 1, width = extents[last], step = strides[last];
    for (size_t axis = 0; axis < last; axis++) rows *= extents[axis];
    for (size_t row = 0; row < rows; row++) {
        float *out = y + row * width;
        if (step == 1) {
            memcpy(out, x + at, width * sizeof(float));
        } else {
            for (size_t i = 0; i < width; i++) out[i] = x[at + i * step];
        }
        for (size_t axis = last; axis-- > 0;) {
            at += strides[axis];
            if (++place[axis] < extents[axis]) break;
            at -= strides[axis] * extents[axis];
            place[axis] = 0;
        }
    }
}

void pfc_copy_blocks(const float *x, size_t from, float *y, size_t to, size_t count, size_t block) {
    for (size_t i = 0; i < count; i++) memcpy(y + i * to, x + i * from, block * sizeof(float));
}

void pfc_softmax_axis(const float *x, size_t outer, size_t count, size_t inner, float *y) {
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            size_t at = o * count * inner + i;
            float most = -INFINITY;
            for (size_t k = 0; k < count; k++) most = x[at + k * inner] <= most ? most : x[at + k * inner];
            double sum = 0;
            for (size_t k = 0; k < count; k++) {
                float e = (float)pfc_exp((double)x[at + k * inner] - most);
                y[at + k * inner] = e;
                sum += e;
            }
            for (size_t k = 0; k < count; k++) y[at + k * inner] = (float)(y[at + k * inner] / sum);
        }
}

void pfc_softmax_axis_backward(
    const float *y, const float *dy, size_t outer, size_t count, size_t inner, float *dx) {
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            size_t at = o * count * inner + i;
            double sum = 0;
            for (size_t k = 0; k < count; k++) sum += (double)y[at + k * inner] * dy[at + k * inner];
            for (size_t k = 0; k < count; k++) {
                size_t p = at + k * inner;
                dx[p] = (float)(y[p] * (dy[p] - sum));
            }
        }
}

void pfc_layer_norm(
    const float *x, size_t rows, size_t count, const float *weight, const float *bias, float epsilon, float *y,
    float *state) {
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * count;
        double sum = 0, squares = 0;
        for (size_t i = 0; i < count; i++) sum += in[i];
        double mean = sum / (double)count;
        for (size_t i = 0; i < count; i++) squares += (in[i] - mean) * (in[i] - mean);
        double inverse = 1.0 / sqrt(squares / (double)count + epsilon);
        state[2 * r] = (float)mean;
        state[2 * r + 1] = (float)inverse;
        for (size_t i = 0; i < count; i++)
            y[r * count + i] = (float)((in[i] - mean) * inverse) * weight[i] + (bias ? bias[i] : 0.0f);
    }
}

void pfc_layer_norm_backward(
    const float *dy, const float *x, size_t rows, size_t count, const float *weight, const float *state, float *dx,
    double *weight_sums, double *bias_sums) {
    memset(weight_sums, 0, count * sizeof(double));
    memset(bias_sums, 0, count * sizeof(double));
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * count, *g = dy + r * count;
        double mean = state[2 * r], inverse = state[2 * r + 1], sum = 0, product = 0;
        for (size_t i = 0; i < count; i++) {
            double normal = (in[i] - mean) * inverse, d = (double)g[i] * weight[i];
            weight_sums[i] += g[i] * normal;
            bias_sums[i] += g[i];
            sum += d;
            product += d * normal;
        }
        if (!dx) continue;
        for (size_t i = 0; i < count; i++) {
            double normal = (in[i] - mean) * inverse, d = (double)g[i] * weight[i];
            dx[r * count + i] = (float)(inverse * (d - (sum + normal * product) / (double)count));
        }
    }
}
