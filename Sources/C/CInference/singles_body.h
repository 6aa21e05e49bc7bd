// Products and depthwise convolutions in single precision. Included after epilogue_body.h.

PFI_INLINE void singles_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    singles sum[pfi_most_rows][4];
    begin_singles(t, first, sum, rows, vectors);
    const float *w = t->weights;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const float *x[pfi_most_rows];
        PFI_UNROLL for (int r = 0; r < rows; r++) x[r] = pfi_tap(t->base[first + (size_t)r], t->padding, t->offsets[first + (size_t)r][tap], 4);
        for (size_t c = 0; c < t->length; c++, w += vectors * PFI_LANES) {
            singles weights[4];
            PFI_UNROLL for (int v = 0; v < vectors; v++) weights[v] = load_singles(w + v * PFI_LANES);
            PFI_UNROLL for (int r = 0; r < rows; r++) {
                singles b = all_singles(x[r][c]);
                PFI_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = fused(b, weights[v], sum[r][v]);
            }
        }
    }
    end_singles(t, first, sum, rows, vectors);
}

/// Four whole vectors of channels in some rows.
PFI_INLINE void depthwise_singles_rows(
    const pfi_strip *s, const float *const *base, const int32_t *const *offsets, const int rows, const int is_grouped,
    size_t row) {
    const float *w = (const float *)s->weights + s->panel->first;
    const size_t group = is_grouped ? s->p->group : 1;
    singles sum[pfi_most_rows][4];
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < 4; v++) sum[r][v] = no_singles();
    for (size_t tap = 0; tap < s->p->taps; tap++)
        for (size_t g = 0; g < group; g++, w += s->p->outputs) {
            spreading spread = spreading_of(group, g);
            singles weights[4];
            PFI_UNROLL for (int v = 0; v < 4; v++) weights[v] = load_singles(w + v * PFI_LANES);
            PFI_UNROLL for (int r = 0; r < rows; r++) {
                const float *x = pfi_tap(base[r], s->padding, offsets[r] ? offsets[r][tap] : 0, 4);
                x += s->panel->first;
                PFI_UNROLL for (int v = 0; v < 4; v++) {
                    const float *from = x + v * PFI_LANES;
                    singles numbers = is_grouped ? load_spread(from, s->panel->first + (size_t)v * PFI_LANES, PFI_LANES, spread) : load_singles(from);
                    sum[r][v] = fused(numbers, weights[v], sum[r][v]);
                }
            }
        }
    finish_singles(s->panel, sum, rows, 4, row);
}

/// What is left of the channels in one row.
static void depthwise_singles_tail(const pfi_strip *s, const float *base, const int32_t *offsets, size_t row) {
    const float *w = (const float *)s->weights + s->panel->first;
    const size_t group = pfi_width_of_group(s->p);
    singles sum[1][4];
    PFI_UNROLL for (int v = 0; v < 4; v++) sum[0][v] = no_singles();
    for (size_t tap = 0; tap < s->p->taps; tap++)
        for (size_t g = 0; g < group; g++, w += s->p->outputs) {
            spreading spread = spreading_of(group, g);
            const float *x = pfi_tap(base, s->padding, offsets ? offsets[tap] : 0, 4);
            x += s->panel->first;
            PFI_UNROLL for (int v = 0; v < 4; v++) {
                const size_t before = (size_t)v * PFI_LANES;
                if (s->panel->count <= before) break;
                size_t count = pfi_smaller(PFI_LANES, s->panel->count - before);
                sum[0][v] = fused(load_spread(x + before, s->panel->first + before, count, spread), load_some(w + before, count), sum[0][v]);
            }
        }
    finish_singles(s->panel, sum, 1, 4, row);
}

PFI_INLINE void depthwise_singles_strip(const pfi_strip *s, const int is_grouped) {
    enum { together = PFI_LANES == 16 ? 4 : PFI_LANES > 1 ? 2 : 1 };
    const pfi_problem *p = s->p;
    size_t image = s->begin / p->rows, row = s->begin % p->rows;
    const float *base[together];
    const int32_t *offsets[together];
    for (size_t i = s->begin, waiting = 0; i < s->end; i++) {
        base[waiting] = (const float *)s->x + image * p->image_stride + (p->offsets ? 0 : row * p->row_stride);
        offsets[waiting] = p->offsets ? p->offsets + row * p->taps : NULL;
        if (s->panel->count < 4 * PFI_LANES) {
            depthwise_singles_tail(s, base[0], offsets[0], i);
        } else if (++waiting == together) {
            depthwise_singles_rows(s, base, offsets, together, is_grouped, i + 1 - together);
            waiting = 0;
        } else if (i + 1 == s->end) {
            for (size_t r = 0; r < waiting; r++)
                depthwise_singles_rows(s, base + r, offsets + r, 1, is_grouped, i + 1 - waiting + r);
        }
        if (++row == p->rows) {
            row = 0;
            image++;
        }
    }
}

static void depthwise_singles_alone(const pfi_strip *s) { depthwise_singles_strip(s, 0); }
static void depthwise_singles_grouped(const pfi_strip *s) { depthwise_singles_strip(s, 1); }
static void depthwise_singles(const pfi_strip *s) {
    (pfi_width_of_group(s->p) > 1 ? depthwise_singles_grouped : depthwise_singles_alone)(s);
}

/// The epilogue over rows of floats.
static void rows_alone(const pfi_panel *panel, const float *x, size_t stride, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        const float *from = x + i * stride + panel->first;
        singles sum[1][4];
        if (panel->count == 4 * PFI_LANES) {
            PFI_UNROLL for (int v = 0; v < 4; v++) sum[0][v] = load_singles(from + v * PFI_LANES);
        } else {
            PFI_UNROLL for (int v = 0; v < 4; v++) {
                size_t before = (size_t)v * PFI_LANES;
                size_t count = panel->count > before ? pfi_smaller(PFI_LANES, panel->count - before) : 0;
                sum[0][v] = load_some(from + (count ? before : 0), count);
            }
        }
        finish_singles(panel, sum, 1, 4, i);
    }
}
