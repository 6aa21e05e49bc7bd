// Depthwise convolutions with VPDPBUSD: four taps at a time. Included after depthwise_body.h.
// [four][4 vectors] of four bytes.

/// Three columns, each as four vectors of its three taps (and one again: its weight is zero).
struct window {
    bytes columns[3][4];
};
#include "depthwise_strip_body.h"

static const int8_t fours_order[12] = {0, 3, 6, -1, 1, 4, 7, -1, 2, 5, 8, -1};

PFI_INLINE void interleave(bytes a, bytes b, bytes c, bytes d, bytes *to) {
    bytes low[2] = {low_bytes(a, b), low_bytes(c, d)}, high[2] = {high_bytes(a, b), high_bytes(c, d)};
    to[0] = low_pairs(low[0], low[1]);
    to[1] = high_pairs(low[0], low[1]);
    to[2] = low_pairs(high[0], high[1]);
    to[3] = high_pairs(high[0], high[1]);
}

PFI_INLINE void add_four(const bytes *x, const bytes *w, words *sum) {
    PFI_UNROLL for (int v = 0; v < 4; v++) sum[v] = dot(sum[v], x[v], w[v]);
}

PFI_INLINE void fours_push(
    window *w, const uint8_t *top, const uint8_t *middle, const uint8_t *bottom, const bytes *spreading) {
    PFI_UNROLL for (int v = 0; v < 4; v++) {
        w->columns[0][v] = w->columns[1][v];
        w->columns[1][v] = w->columns[2][v];
    }
    bytes c = load_column(bottom, spreading);
    interleave(load_column(top, spreading), load_column(middle, spreading), c, c, w->columns[2]);
}

PFI_INLINE void fours_window(const window *x, const bytes *weights, words *sum) {
    PFI_UNROLL for (int i = 0; i < 3; i++) add_four(x->columns[i], weights + 4 * i, sum);
}

PFI_INLINE const void *fours_slab(const slab *s, const void *weights, words *sum) {
    const bytes *w = weights;
    for (size_t t = 0; t < s->taps; t += 4, w += 4) {
        bytes four[4];
        interleave(load_tap(s, t), load_tap(s, t + 1), load_tap(s, t + 2), load_tap(s, t + 3), four);
        add_four(four, w, sum);
    }
    return w;
}

static const depthwise_body depthwise_dot_body = {
    fours_push, fours_window, fours_slab, fours_order, 12, .vectors = 12, .is_taken = 0};

PFI_DEPTHWISE_STRIPS(depthwise_dot, depthwise_dot_body)

static size_t fours_of(size_t taps) { return ((taps == 9 ? 12 : taps) + 3) / 4; }

static size_t depthwise_dot_bytes(size_t taps, size_t channels) {
    return pfi_round_up(channels, depthwise_channels) / depthwise_channels * fours_of(taps) * 4 * sizeof(bytes);
}

static void depthwise_dot_pack(const int8_t *weights, size_t taps, size_t channels, void *packed) {
    int8_t *out = packed;
    for (size_t first = 0; first < channels; first += depthwise_channels)
        for (size_t four = 0; four < fours_of(taps); four++)
            for (size_t v = 0; v < 4; v++)
                for (size_t i = 0; i < PFI_LANES; i++)
                    for (size_t t = 4 * four; t < 4 * four + 4; t++)
                        *out++ = (int8_t)weight_at(weights, taps, channels, fours_order, t, first + unpacked_channel(v, i));
}
