// The loop over the rows of a depthwise convolution. Included where a body has defined its window.

/// Whether the second and third column of a row's taps are the first and second of the next one's.
PFI_INLINE int is_moved_by_one(const int32_t *row, const int32_t *next) {
    uint64_t a[3], b[3];
    for (int i = 0; i < 3; i++) {
        memcpy(&a[i], row + 3 * i + 1, 8);
        memcpy(&b[i], next + 3 * i, 8);
    }
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) == 0;
}

PFI_INLINE void depthwise_strip(const pfi_strip *s, const depthwise_body body) {
    const pfi_problem *p = s->p;
    const pfi_panel *panel = s->panel;
    depthwise_numbers n = {.panel = panel, .codes = coding_of(&panel->e->sinks[0])};
    unpacked_order(panel->correction, n.correction);
    unpacked_order(panel->scale, n.scale);
    unpacked_order(panel->bias, n.bias);
    if (panel->slopes[0]) unpacked_order(panel->slopes[0], n.slope);
    const uint8_t *base = (const uint8_t *)s->x + s->begin / p->rows * p->image_stride + panel->first;
    const uint8_t *padding = s->padding ? (const uint8_t *)s->padding + panel->first : NULL;
    size_t row = s->begin % p->rows;
    int nine = p->taps == 9 && p->offsets, has_window = nine && panel->count == depthwise_channels;
    if (has_window && body.taken)
        for (int v = 0; v < 4; v++) {
            const int32_t *taken = (const int32_t *)(const void *)((const unsigned char *)s->weights + body.taken);
            int32_t *to = n.correction + v * PFI_LANES;
            store_words(to, add_words(load_words(to), load_words(taken + v * PFI_LANES)));
        }
    window w;
    memset(&w, 0, sizeof w);
    int is_next = 0;
    for (size_t i = s->begin; i < s->end; i++) {
        const int32_t *offsets = p->offsets ? p->offsets + row * p->taps : NULL;
        words sum[4];
        PFI_UNROLL for (int v = 0; v < 4; v++) sum[v] = load_words(n.correction + v * PFI_LANES);
        if (has_window) {
            for (int column = is_next && is_moved_by_one(offsets - 9, offsets) ? 2 : 0; column < 3; column++)
                body.push(
                    &w, pfi_tap(base, padding, offsets[column], 1), pfi_tap(base, padding, offsets[column + 3], 1),
                    pfi_tap(base, padding, offsets[column + 6], 1));
            is_next = 1;
            body.window(&w, s->weights, sum);
        } else {
            const void *weights = s->weights;
            size_t all = p->taps == 9 ? body.ordered : p->taps;
            for (size_t done = 0; done < all; done += depthwise_slab) {
                const uint8_t *x[depthwise_slab];
                size_t taps = pfi_smaller(depthwise_slab, all - done);
                for (size_t t = 0; t < taps; t++) {
                    int tap = p->taps == 9 ? body.order[t] : (int)(done + t);
                    x[t] = offsets ? pfi_tap(base, padding, offsets[tap < 0 ? 0 : tap], 1) : base + row * p->row_stride;
                }
                // Their weights are zero.
                for (size_t t = taps; t % 4; t++) x[t] = x[0];
                weights = body.slab(x, taps, panel->count, weights, sum);
            }
        }
        depthwise_finish(&n, sum, i);
        if (++row == p->rows) {
            row = 0;
            is_next = 0;
            base += p->image_stride;
        }
    }
}
