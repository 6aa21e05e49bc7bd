// Depthwise convolutions with VPDPBUSD: four taps at a time. Included after depthwise_body.h.
// [four][4 vectors] of four bytes.

PFI_INLINE const void *fours_slab(const uint8_t *const *x, size_t taps, size_t channels, const void *weights, words *sum) {
    const unsigned char *w = weights;
    for (size_t t = 0; t < taps; t += 4, w += 4 * sizeof(bytes)) {
        bytes a = load_channels(x[t], channels), b = load_channels(x[t + 1], channels);
        bytes c = load_channels(x[t + 2], channels), d = load_channels(x[t + 3], channels);
        bytes low[2] = {low_bytes(a, b), low_bytes(c, d)}, high[2] = {high_bytes(a, b), high_bytes(c, d)};
        sum[0] = dot(sum[0], low_pairs(low[0], low[1]), load_bytes(w));
        sum[1] = dot(sum[1], high_pairs(low[0], low[1]), load_bytes(w + sizeof(bytes)));
        sum[2] = dot(sum[2], low_pairs(high[0], high[1]), load_bytes(w + 2 * sizeof(bytes)));
        sum[3] = dot(sum[3], high_pairs(high[0], high[1]), load_bytes(w + 3 * sizeof(bytes)));
    }
    return w;
}

static void depthwise_dot_strip(const pfi_strip *s) { depthwise_strip(s, fours_slab, 0); }

static size_t depthwise_dot_bytes(size_t taps, size_t channels) {
    return pfi_round_up(channels, depthwise_channels) / depthwise_channels * ((taps + 3) / 4) * 4 * sizeof(bytes);
}

static void depthwise_dot_pack(const int8_t *weights, size_t taps, size_t channels, void *packed) {
    int8_t *out = packed;
    for (size_t first = 0; first < channels; first += depthwise_channels)
        for (size_t four = 0; four < taps; four += 4)
            for (size_t v = 0; v < 4; v++)
                for (size_t i = 0; i < PFI_LANES; i++)
                    for (size_t t = four; t < four + 4; t++) {
                        size_t c = first + unpacked_channel(v, i);
                        *out++ = t < taps && c < channels ? weights[t * channels + c] : 0;
                    }
}
