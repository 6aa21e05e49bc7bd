// Depthwise convolutions without VPDPBUSD: two taps at a time. Included after depthwise_body.h.

/// Of three columns a, b, c: the upper two taps of each, and the lowest of (a, b) and (b, c).
struct window {
    bytes upper[3][2], lowest[2][2], last;
};
#include "depthwise_strip_body.h"

static const int8_t pairs_order[12] = {0, 3, 1, 4, 2, 5, 6, 7, -1, 8, -1, -1};
enum { pairs_ordered = 10 };

PFI_INLINE void pairs_push(
    window *w, const uint8_t *top, const uint8_t *middle, const uint8_t *bottom, const bytes *spreading) {
    bytes a = load_column(top, spreading), b = load_column(middle, spreading), c = load_column(bottom, spreading);
    PFI_UNROLL for (int h = 0; h < 2; h++) {
        w->upper[0][h] = w->upper[1][h];
        w->upper[1][h] = w->upper[2][h];
        w->lowest[0][h] = w->lowest[1][h];
    }
    w->upper[2][0] = low_bytes(a, b);
    w->upper[2][1] = high_bytes(a, b);
    w->lowest[1][0] = low_bytes(w->last, c);
    w->lowest[1][1] = high_bytes(w->last, c);
    w->last = c;
}

// MARK: Eight bits: 16-bit operands
// [pair][4 vectors] of two 16-bit weights.

PFI_INLINE void add_pair(bytes low, bytes high, const bytes *w, words *sum) {
    bytes zero = no_bytes();
    sum[0] = add_words(sum[0], pair_products(low_bytes(low, zero), w[0]));
    sum[1] = add_words(sum[1], pair_products(high_bytes(low, zero), w[1]));
    sum[2] = add_words(sum[2], pair_products(low_bytes(high, zero), w[2]));
    sum[3] = add_words(sum[3], pair_products(high_bytes(high, zero), w[3]));
}

PFI_INLINE void eight_window(const window *x, const bytes *weights, words *sum) {
    PFI_UNROLL for (int i = 0; i < 3; i++) add_pair(x->upper[i][0], x->upper[i][1], weights + i * 4, sum);
    PFI_UNROLL for (int i = 0; i < 2; i++) add_pair(x->lowest[i][0], x->lowest[i][1], weights + (3 + i) * 4, sum);
}

PFI_INLINE const void *eight_slab(const slab *s, const void *weights, words *sum) {
    const bytes *w = weights;
    for (size_t t = 0; t < s->taps; t += 2, w += 4) {
        bytes a = load_tap(s, t), b = load_tap(s, t + 1);
        add_pair(low_bytes(a, b), high_bytes(a, b), w, sum);
    }
    return w;
}

static const depthwise_body depthwise_eight_body = {
    pairs_push, eight_window, eight_slab, pairs_order, pairs_ordered, .vectors = 20, .is_taken = 0};

PFI_DEPTHWISE_STRIPS(depthwise_eight, depthwise_eight_body)

static size_t pairs_of(size_t taps) { return ((taps == 9 ? pairs_ordered : taps) + 1) / 2; }

static size_t depthwise_eight_bytes(size_t taps, size_t channels) {
    return pfi_round_up(channels, depthwise_channels) / depthwise_channels * pairs_of(taps) * 4 * sizeof(bytes);
}

static void depthwise_eight_pack(const int8_t *weights, size_t taps, size_t channels, void *packed) {
    int16_t *out = packed;
    for (size_t first = 0; first < channels; first += depthwise_channels)
        for (size_t pair = 0; pair < pairs_of(taps); pair++)
            for (size_t v = 0; v < 4; v++)
                for (size_t i = 0; i < PFI_LANES; i++)
                    for (size_t t = 2 * pair; t < 2 * pair + 2; t++)
                        *out++ = (int16_t)weight_at(weights, taps, channels, pairs_order, t, first + unpacked_channel(v, i));
}

// MARK: Seven bits: four products in a 16-bit sum
// [pair][2 vectors] of two bytes. One round of unpacking: number i of vector h is channel i / 8 · 16 + 8·h + i % 8.

/// Adds two vectors of 16-bit sums each.
PFI_INLINE void add_halves(const bytes *a, const bytes *b, words *sum) {
    bytes one = all_sixteens(1);
    PFI_UNROLL for (int h = 0; h < 2; h++) {
        sum[2 * h] = add_words(sum[2 * h], pair_products(low_pairs(a[h], b[h]), one));
        sum[2 * h + 1] = add_words(sum[2 * h + 1], pair_products(high_pairs(a[h], b[h]), one));
    }
}

/// Nine products: six of them, less 64·w each, fit 16 bits, and the other three do. What is subtracted is behind the weights, negative;
/// the correction of the window has it positive.
PFI_INLINE void seven_window(const window *x, const bytes *weights, words *sum) {
    bytes a[2], b[2];
    PFI_UNROLL for (int h = 0; h < 2; h++) {
        a[h] = add_sixteens(weights[10 + h], byte_products(x->upper[0][h], weights[0 + h]));
        a[h] = add_sixteens(a[h], byte_products(x->upper[1][h], weights[2 + h]));
        a[h] = add_sixteens(a[h], byte_products(x->upper[2][h], weights[4 + h]));
        b[h] = byte_products(x->lowest[0][h], weights[6 + h]);
        b[h] = add_sixteens(b[h], byte_products(x->lowest[1][h], weights[8 + h]));
    }
    add_halves(a, b, sum);
}

PFI_INLINE const void *seven_slab(const slab *s, const void *weights, words *sum) {
    const unsigned char *w = weights;
    for (size_t t = 0; t < s->taps; t += 8) {
        bytes half[2][2];
        for (int i = 0; i < 2; i++) {
            half[i][0] = half[i][1] = no_bytes();
            for (size_t u = t + (size_t)i * 4; u < s->taps && u < t + (size_t)i * 4 + 4; u += 2, w += 2 * sizeof(bytes)) {
                bytes a = load_tap(s, u), b = load_tap(s, u + 1);
                half[i][0] = add_sixteens(half[i][0], byte_products(low_bytes(a, b), load_bytes(w)));
                half[i][1] = add_sixteens(half[i][1], byte_products(high_bytes(a, b), load_bytes(w + sizeof(bytes))));
            }
        }
        add_halves(half[0], half[1], sum);
    }
    return w;
}

enum { seven_vectors = 12 };
static const depthwise_body depthwise_seven_body = {
    pairs_push, seven_window, seven_slab, pairs_order, pairs_ordered, .vectors = seven_vectors, .is_taken = 1};

PFI_DEPTHWISE_STRIPS(depthwise_seven, depthwise_seven_body)

static size_t depthwise_seven_bytes(size_t taps, size_t channels) {
    size_t vectors = taps == 9 ? seven_vectors + 4 : 2 * pairs_of(taps);
    return pfi_round_up(channels, depthwise_channels) / depthwise_channels * vectors * sizeof(bytes);
}

static void depthwise_seven_pack(const int8_t *weights, size_t taps, size_t channels, void *packed) {
    int8_t *out = packed;
    for (size_t first = 0; first < channels; first += depthwise_channels) {
        for (size_t pair = 0; pair < pairs_of(taps); pair++)
            for (size_t h = 0; h < 2; h++)
                for (size_t i = 0; i < 2 * PFI_LANES; i++)
                    for (size_t t = 2 * pair; t < 2 * pair + 2; t++)
                        *out++ = (int8_t)weight_at(weights, taps, channels, pairs_order, t, first + i / 8 * 16 + h * 8 + i % 8);
        if (taps != 9) continue;
        for (int i = 0; i < depthwise_channels; i++, out += 2) {
            int16_t sum = 0;
            size_t c = first + (size_t)(i % (2 * PFI_LANES) / 8 * 16 + i / (2 * PFI_LANES) * 8 + i % 8);
            for (size_t t = 0; t < 6; t++) sum += (int16_t)(-64 * weight_at(weights, taps, channels, pairs_order, t, c));
            memcpy(out, &sum, sizeof sum);
        }
        for (size_t v = 0; v < 4; v++)
            for (size_t i = 0; i < PFI_LANES; i++, out += 4) {
                int32_t sum = 0;
                for (size_t t = 0; t < 6; t++)
                    sum += 64 * weight_at(weights, taps, channels, pairs_order, t, first + unpacked_channel(v, i));
                memcpy(out, &sum, sizeof sum);
            }
    }
}
