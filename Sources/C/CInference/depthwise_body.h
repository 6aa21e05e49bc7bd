// Depthwise convolutions of bytes: a vector of channels at a time, taps interleaved by unpacking. Included after epilogue_body.h.
//
// Two rounds of unpacking leave four vectors of sums; channel 16·L + 4·v + i is number 4·L + i of vector v. Packing them to bytes
// undoes it. Taps are taken in *slabs* of up to 16.

enum { depthwise_channels = sizeof(bytes), depthwise_slab = 16 };

/// The channel of number i of vector v.
PFI_INLINE size_t unpacked_channel(size_t v, size_t i) { return i / 4 * 16 + v * 4 + i % 4; }

PFI_INLINE void unpacked_order(const void *natural, void *to) {
    for (size_t v = 0; v < 4; v++)
        for (size_t i = 0; i < PFI_LANES; i += 4)
            memcpy(
                (unsigned char *)to + (v * PFI_LANES + i) * 4,
                (const unsigned char *)natural + unpacked_channel(v, i) * 4, 16);
}

/// Adds a slab's products to the sums.
typedef const void *(*slab_function)(const uint8_t *const *x, size_t taps, size_t channels, const void *w, words *sum);

PFI_INLINE void depthwise_strip(const pfi_strip *s, const slab_function slab, int takes) {
    const pfi_problem *p = s->p;
    const pfi_panel *panel = s->panel;
    const int32_t *packed = s->weights;
    int32_t correction[depthwise_channels] __attribute__((aligned(64)));
    float numbers[3][depthwise_channels] __attribute__((aligned(64)));
    unpacked_order(panel->correction, correction);
    unpacked_order(panel->scale, numbers[0]);
    unpacked_order(panel->bias, numbers[1]);
    if (panel->slopes[0]) unpacked_order(panel->slopes[0], numbers[2]);
    // What the kernel's sums lack is in front of the weights.
    if (takes)
        for (int v = 0; v < 4; v++)
            store_words(
                correction + v * PFI_LANES,
                add_words(load_words(correction + v * PFI_LANES), load_words(packed + v * PFI_LANES)));
    const int32_t *w = packed + (takes ? 4 * PFI_LANES : 0);
    size_t image = s->begin / p->rows, row = s->begin % p->rows;
    for (size_t i = s->begin; i < s->end; i++) {
        const uint8_t *base = (const uint8_t *)s->x + image * p->image_stride + panel->first;
        const uint8_t *padding = s->padding ? (const uint8_t *)s->padding + panel->first : NULL;
        if (!p->offsets) base += row * p->row_stride;
        const int32_t *offsets = p->offsets ? p->offsets + row * p->taps : NULL;
        words sum[1][4];
        PFI_UNROLL for (int v = 0; v < 4; v++) sum[0][v] = load_words(correction + v * PFI_LANES);
        const void *at = w;
        for (size_t done = 0; done < p->taps; done += depthwise_slab) {
            const uint8_t *x[depthwise_slab];
            size_t taps = pfi_smaller(depthwise_slab, p->taps - done);
            for (size_t t = 0; t < taps; t++) x[t] = pfi_tap(base, padding, offsets ? offsets[done + t] : 0, 1);
            // Their weights are zero.
            for (size_t t = taps; t % 4; t++) x[t] = x[0];
            if (taps == 9 && panel->count == depthwise_channels)
                at = slab(x, 9, depthwise_channels, at, sum[0]);
            else
                at = slab(x, taps, panel->count, at, sum[0]);
        }
        if (panel->is_simple && panel->e->sinks[0].kind == PFI_CODES) {
            singles y[1][4];
            PFI_UNROLL for (int v = 0; v < 4; v++) y[0][v] = to_singles(sum[0][v]);
            finish_simple(panel, y, numbers[0], numbers[1], numbers[2], 1, 4, i, store_unpacked_codes);
        } else {
            int32_t unpacked[depthwise_channels] __attribute__((aligned(64)));
            int32_t sums[depthwise_channels] __attribute__((aligned(64)));
            PFI_UNROLL for (int v = 0; v < 4; v++) store_words(unpacked + v * PFI_LANES, sum[0][v]);
            for (size_t v = 0; v < 4; v++)
                for (size_t n = 0; n < PFI_LANES; n += 4)
                    memcpy(sums + unpacked_channel(v, n), unpacked + v * PFI_LANES + n, 16);
            // The correction is in already.
            pfi_panel corrected = *panel;
            static const int32_t none[depthwise_channels];
            corrected.correction = none;
            finish_row(&corrected, sums, NULL, i);
        }
        if (++row == p->rows) {
            row = 0;
            image++;
        }
    }
}

PFI_INLINE bytes load_channels(const uint8_t *x, size_t channels) {
    return channels == depthwise_channels ? load_bytes(x) : load_some_bytes(x, channels);
}
