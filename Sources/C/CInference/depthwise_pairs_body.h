// Depthwise convolutions without VPDPBUSD: two taps at a time. Included after depthwise_body.h.

// MARK: Eight bits: 16-bit operands
// [pair][4 vectors] of two 16-bit weights.

PFI_INLINE const void *pairs_slab(const uint8_t *const *x, size_t taps, size_t channels, const void *weights, words *sum) {
    const unsigned char *w = weights;
    for (size_t t = 0; t < taps; t += 2, w += 4 * sizeof(bytes)) {
        bytes a = load_channels(x[t], channels), b = load_channels(x[t + 1], channels);
        bytes low = low_bytes(a, b), high = high_bytes(a, b), zero = no_bytes();
        sum[0] = add_words(sum[0], pair_products(low_bytes(low, zero), load_bytes(w)));
        sum[1] = add_words(sum[1], pair_products(high_bytes(low, zero), load_bytes(w + sizeof(bytes))));
        sum[2] = add_words(sum[2], pair_products(low_bytes(high, zero), load_bytes(w + 2 * sizeof(bytes))));
        sum[3] = add_words(sum[3], pair_products(high_bytes(high, zero), load_bytes(w + 3 * sizeof(bytes))));
    }
    return w;
}

static void depthwise_eight_strip(const pfi_strip *s) { depthwise_strip(s, pairs_slab, 0); }

static size_t depthwise_eight_bytes(size_t taps, size_t channels) {
    return pfi_round_up(channels, depthwise_channels) / depthwise_channels * ((taps + 1) / 2) * 4 * sizeof(bytes);
}

static void depthwise_eight_pack(const int8_t *weights, size_t taps, size_t channels, void *packed) {
    int16_t *out = packed;
    for (size_t first = 0; first < channels; first += depthwise_channels)
        for (size_t t = 0; t < taps; t += 2)
            for (size_t v = 0; v < 4; v++)
                for (size_t i = 0; i < PFI_LANES; i++)
                    for (size_t side = 0; side < 2; side++) {
                        size_t c = first + unpacked_channel(v, i);
                        *out++ = t + side < taps && c < channels ? weights[(t + side) * channels + c] : 0;
                    }
}

// MARK: Seven bits: eight products in a 16-bit sum
// First 64·(the sum of a channel's weights), 4 vectors. Then for each half of each slab's pairs -64·(the sum of its weights) as int16,
// 2 vectors, and [pair][2 vectors] of two bytes.

PFI_INLINE const unsigned char *half_slab(
    const uint8_t *const *x, size_t pairs, size_t channels, const unsigned char *w, bytes *low, bytes *high) {
    *low = load_bytes(w);
    *high = load_bytes(w + sizeof(bytes));
    w += 2 * sizeof(bytes);
    for (size_t i = 0; i < pairs; i++, w += 2 * sizeof(bytes)) {
        bytes a = load_channels(x[2 * i], channels), b = load_channels(x[2 * i + 1], channels);
        *low = add_sixteens(*low, byte_products(low_bytes(a, b), load_bytes(w)));
        *high = add_sixteens(*high, byte_products(high_bytes(a, b), load_bytes(w + sizeof(bytes))));
    }
    return w;
}

PFI_INLINE const void *halves_slab(const uint8_t *const *x, size_t taps, size_t channels, const void *weights, words *sum) {
    size_t pairs = (taps + 1) / 2, first = (pairs + 1) / 2;
    bytes low[2], high[2];
    const unsigned char *w = half_slab(x, first, channels, weights, &low[0], &high[0]);
    low[1] = high[1] = no_bytes();
    if (pairs > first) w = half_slab(x + 2 * first, pairs - first, channels, w, &low[1], &high[1]);
    bytes one = all_sixteens(1);
    sum[0] = add_words(sum[0], pair_products(low_pairs(low[0], low[1]), one));
    sum[1] = add_words(sum[1], pair_products(high_pairs(low[0], low[1]), one));
    sum[2] = add_words(sum[2], pair_products(low_pairs(high[0], high[1]), one));
    sum[3] = add_words(sum[3], pair_products(high_pairs(high[0], high[1]), one));
    return w;
}

static void depthwise_seven_strip(const pfi_strip *s) { depthwise_strip(s, halves_slab, 1); }

static size_t depthwise_seven_bytes(size_t taps, size_t channels) {
    size_t vectors = 4;
    for (size_t done = 0; done < taps; done += depthwise_slab) {
        size_t pairs = (pfi_smaller(depthwise_slab, taps - done) + 1) / 2;
        vectors += 2 * pairs + (pairs > 1 ? 4 : 2);
    }
    return pfi_round_up(channels, depthwise_channels) / depthwise_channels * vectors * sizeof(bytes);
}

/// The weight of a tap and a channel, or zero.
static int weight_at(const int8_t *weights, size_t taps, size_t channels, size_t t, size_t c) {
    return t < taps && c < channels ? weights[t * channels + c] : 0;
}

static void depthwise_seven_pack(const int8_t *weights, size_t taps, size_t channels, void *packed) {
    int16_t *out = packed;
    for (size_t first = 0; first < channels; first += depthwise_channels) {
        for (size_t v = 0; v < 4; v++)
            for (size_t i = 0; i < PFI_LANES; i++, out += 2) {
                int32_t sum = 0;
                for (size_t t = 0; t < taps; t++)
                    sum += 64 * weight_at(weights, taps, channels, t, first + unpacked_channel(v, i));
                memcpy(out, &sum, sizeof sum);
            }
        for (size_t done = 0; done < taps; done += depthwise_slab) {
            size_t pairs = (pfi_smaller(depthwise_slab, taps - done) + 1) / 2, middle = (pairs + 1) / 2;
            for (int half = 0; half < 2; half++) {
                size_t from = half ? middle : 0, to = half ? pairs : middle;
                if (from == to) break;
                // One round of unpacking: number i of vector h is channel i / 8 · 16 + 8·h + i % 8.
                for (size_t h = 0; h < 2; h++)
                    for (size_t i = 0; i < 2 * PFI_LANES; i++) {
                        int sum = 0;
                        for (size_t t = done + 2 * from; t < done + 2 * to; t++)
                            sum += weight_at(weights, taps, channels, t, first + i / 8 * 16 + h * 8 + i % 8);
                        *out++ = (int16_t)(-64 * sum);
                    }
                for (size_t pair = from; pair < to; pair++)
                    for (size_t h = 0; h < 2; h++)
                        for (size_t i = 0; i < 2 * PFI_LANES; i++) {
                            size_t t = done + 2 * pair, c = first + i / 8 * 16 + h * 8 + i % 8;
                            int8_t two[2] = {
                                (int8_t)weight_at(weights, taps, channels, t, c),
                                (int8_t)weight_at(weights, taps, channels, t + 1, c)};
                            memcpy(out++, two, 2);
                        }
            }
        }
    }
}
