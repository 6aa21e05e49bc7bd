// Products and depthwise convolutions in single precision. Included after epilogue_body.h.

PFI_INLINE void singles_tile(const pfi_tile *t, const int rows, const int vectors) {
    singles sum[pfi_most_rows][4];
    begin_singles(t, sum, rows, vectors);
    const float *w = t->weights;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const float *x[pfi_most_rows];
        PFI_UNROLL for (int r = 0; r < rows; r++) x[r] = pfi_tap(t->base[r], t->padding, t->offsets[r][tap], 4);
        for (size_t c = 0; c < t->length; c++, w += vectors * PFI_LANES) {
            singles weights[4];
            PFI_UNROLL for (int v = 0; v < vectors; v++) weights[v] = load_singles(w + v * PFI_LANES);
            PFI_UNROLL for (int r = 0; r < rows; r++) {
                singles b = all_singles(x[r][c]);
                PFI_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = fused(b, weights[v], sum[r][v]);
            }
        }
    }
    end_singles(t, sum, rows, vectors);
}

/// Four vectors of channels, or what is left of them.
static void depthwise_singles(const pfi_strip *s) {
    const pfi_problem *p = s->p;
    const pfi_panel *panel = s->panel;
    size_t image = s->begin / p->rows, row = s->begin % p->rows;
    for (size_t i = s->begin; i < s->end; i++) {
        const float *base = (const float *)s->x + image * p->image_stride, *w = (const float *)s->weights + panel->first;
        if (!p->offsets) base += row * p->row_stride;
        const int32_t *offsets = p->offsets ? p->offsets + row * p->taps : NULL;
        singles sum[1][4];
        PFI_UNROLL for (int v = 0; v < 4; v++) sum[0][v] = no_singles();
        if (panel->count == 4 * PFI_LANES) {
            for (size_t tap = 0; tap < p->taps; tap++, w += p->outputs) {
                const float *x = pfi_tap(base, s->padding, offsets ? offsets[tap] : 0, 4);
                x += panel->first;
                PFI_UNROLL for (int v = 0; v < 4; v++)
                    sum[0][v] = fused(load_singles(x + v * PFI_LANES), load_singles(w + v * PFI_LANES), sum[0][v]);
            }
        } else {
            for (size_t tap = 0; tap < p->taps; tap++, w += p->outputs) {
                const float *x = pfi_tap(base, s->padding, offsets ? offsets[tap] : 0, 4);
                x += panel->first;
                PFI_UNROLL for (int v = 0; v < 4; v++) {
                    if (panel->count <= (size_t)v * PFI_LANES) break;
                    size_t count = pfi_smaller(PFI_LANES, panel->count - (size_t)v * PFI_LANES);
                    sum[0][v] = fused(load_some(x + v * PFI_LANES, count), load_some(w + v * PFI_LANES, count), sum[0][v]);
                }
            }
        }
        finish_singles(panel, sum, 1, 4, i);
        if (++row == p->rows) {
            row = 0;
            image++;
        }
    }
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
