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

/// 3×3, all channels of a panel; of groups of two as the sum of two, each of which reads one channel of a group.
PFI_INLINE void depthwise_windows(
    const pfi_strip *s, depthwise_numbers *n, const depthwise_body body, const int is_simple, const int group) {
    const pfi_problem *p = s->p;
    const uint8_t *base = (const uint8_t *)s->x + s->begin / p->rows * p->image_stride + s->panel->first;
    const uint8_t *padding = s->padding ? (const uint8_t *)s->padding + s->panel->first : NULL;
    bytes weights[2][20], spreading[2];
    const int taken_vectors = body.is_taken ? 4 : 0;
    PFI_UNROLL for (int g = 0; g < group; g++) {
        const unsigned char *own = (const unsigned char *)s->weights + (size_t)(g * (body.vectors + taken_vectors)) * sizeof(bytes);
        PFI_UNROLL for (int i = 0; i < body.vectors; i++) weights[g][i] = load_bytes(own + (size_t)i * sizeof(bytes));
        for (int v = 0; v < taken_vectors; v++) {
            const int32_t *taken = (const int32_t *)(const void *)(own + (size_t)body.vectors * sizeof(bytes));
            int32_t *to = n->correction + v * PFI_LANES;
            store_words(to, add_words(load_words(to), load_words(taken + v * PFI_LANES)));
        }
        spreading[g] = byte_spreading((size_t)group, (size_t)g);
    }
    size_t row = s->begin % p->rows;
    const int32_t *offsets = p->offsets + row * 9;
    window w[2];
    memset(w, 0, sizeof w);
    int is_next = 0;
    // A row's sums are finished beside the products of the next one, which do not depend on them: the processor sees two rows ahead at most.
    words waiting[4];
    PFI_UNROLL for (int v = 0; v < 4; v++) waiting[v] = no_words();
    for (size_t i = s->begin; i < s->end; i++) {
        for (int column = is_next && is_moved_by_one(offsets - 9, offsets) ? 2 : 0; column < 3; column++)
            PFI_UNROLL for (int g = 0; g < group; g++)
                body.push(
                    &w[g], pfi_tap(base, padding, offsets[column], 1), pfi_tap(base, padding, offsets[column + 3], 1),
                    pfi_tap(base, padding, offsets[column + 6], 1), group > 1 ? &spreading[g] : NULL);
        words sum[4];
        PFI_UNROLL for (int v = 0; v < 4; v++) sum[v] = load_words(n->correction + v * PFI_LANES);
        PFI_UNROLL for (int g = 0; g < group; g++) body.window(&w[g], weights[g], sum);
        if (i > s->begin) depthwise_finish(n, waiting, i - 1, is_simple);
        PFI_UNROLL for (int v = 0; v < 4; v++) waiting[v] = sum[v];
        is_next = 1;
        offsets += 9;
        if (++row == p->rows) {
            row = 0;
            is_next = 0;
            offsets = p->offsets;
            base += p->image_stride;
        }
    }
    depthwise_finish(n, waiting, s->end - 1, is_simple);
}

/// Any taps and channels, and groups of them.
PFI_INLINE void depthwise_slabs(
    const pfi_strip *s, const depthwise_numbers *n, const depthwise_body body, const int is_simple, const int is_grouped) {
    const pfi_problem *p = s->p;
    const uint8_t *base = (const uint8_t *)s->x + s->begin / p->rows * p->image_stride + s->panel->first;
    const uint8_t *padding = s->padding ? (const uint8_t *)s->padding + s->panel->first : NULL;
    const size_t group = is_grouped ? p->group : 1;
    // Pairs of windows are packed one after the other: their taps are taken in two passes, those of others in one.
    const int is_pairs = is_grouped && pfi_is_pairs(p->taps, group), is_ordered = p->taps == 9 && (!is_grouped || is_pairs);
    const size_t passes = is_pairs ? 2 : 1, together = is_pairs ? 1 : group;
    bytes spreading[pfi_most_group];
    if (is_grouped)
        for (size_t g = 0; g < group; g++) spreading[g] = byte_spreading(group, g);
    size_t row = s->begin % p->rows, all = is_ordered ? body.ordered : p->taps * together;
    const size_t of_pass = (size_t)(body.vectors + (body.is_taken ? 4 : 0)) * sizeof(bytes);
    for (size_t i = s->begin; i < s->end; i++) {
        const int32_t *offsets = p->offsets ? p->offsets + row * p->taps : NULL;
        words sum[4];
        PFI_UNROLL for (int v = 0; v < 4; v++) sum[v] = load_words(n->correction + v * PFI_LANES);
        for (size_t pass = 0; pass < passes; pass++) {
            const void *weights = (const unsigned char *)s->weights + pass * of_pass;
            for (size_t done = 0; done < all; done += depthwise_slab) {
                slab part = {
                    .channels = s->panel->count, .group = together, .spreading = is_grouped ? spreading + pass : NULL};
                part.taps = pfi_smaller(depthwise_slab, all - done);
                for (size_t t = 0; t < part.taps;) {
                    int tap = is_ordered ? body.order[t] : (int)((done + t) / together);
                    const uint8_t *x =
                        offsets ? pfi_tap(base, padding, offsets[tap < 0 ? 0 : tap], 1) : base + row * p->row_stride;
                    for (size_t g = 0; g < together; g++) part.x[t++] = x;
                }
                // Their weights are zero.
                for (size_t t = part.taps; t % 4; t++) part.x[t] = part.x[0];
                weights = body.slab(&part, weights, sum);
            }
        }
        depthwise_finish(n, sum, i, is_simple);
        if (++row == p->rows) {
            row = 0;
            base += p->image_stride;
        }
    }
}

PFI_INLINE depthwise_numbers numbers_of(const pfi_panel *panel) {
    depthwise_numbers n = {.panel = panel, .codes = coding_of(&panel->e->sinks[0])};
    unpacked_order(panel->correction, n.correction);
    unpacked_order(panel->scale, n.scale);
    unpacked_order(panel->bias, n.bias);
    if (panel->slopes[0]) unpacked_order(panel->slopes[0], n.slope);
    return n;
}

/// One function for each kind of loop.
#define PFI_DEPTHWISE_STRIPS(name, body) \
    static void name##_simple_windows(const pfi_strip *s, depthwise_numbers *n) { depthwise_windows(s, n, body, 1, 1); } \
    static void name##_windows(const pfi_strip *s, depthwise_numbers *n) { depthwise_windows(s, n, body, 0, 1); } \
    static void name##_simple_pairs(const pfi_strip *s, depthwise_numbers *n) { depthwise_windows(s, n, body, 1, 2); } \
    static void name##_pairs(const pfi_strip *s, depthwise_numbers *n) { depthwise_windows(s, n, body, 0, 2); } \
    static void name##_simple_slabs(const pfi_strip *s, depthwise_numbers *n) { depthwise_slabs(s, n, body, 1, 0); } \
    static void name##_slabs(const pfi_strip *s, depthwise_numbers *n) { depthwise_slabs(s, n, body, 0, 0); } \
    static void name##_simple_groups(const pfi_strip *s, depthwise_numbers *n) { depthwise_slabs(s, n, body, 1, 1); } \
    static void name##_groups(const pfi_strip *s, depthwise_numbers *n) { depthwise_slabs(s, n, body, 0, 1); } \
    static void name##_strip(const pfi_strip *s) { \
        depthwise_numbers n = numbers_of(s->panel); \
        int is_simple = s->panel->is_simple; \
        size_t group = pfi_width_of_group(s->p); \
        int is_window = s->p->taps == 9 && s->p->offsets && s->panel->count == depthwise_channels; \
        if (group == 1 && is_window) \
            (is_simple ? name##_simple_windows : name##_windows)(s, &n); \
        else if (group == 2 && is_window) \
            (is_simple ? name##_simple_pairs : name##_pairs)(s, &n); \
        else if (group == 1) \
            (is_simple ? name##_simple_slabs : name##_slabs)(s, &n); \
        else \
            (is_simple ? name##_simple_groups : name##_groups)(s, &n); \
    }
