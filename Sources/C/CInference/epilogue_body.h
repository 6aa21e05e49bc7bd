// What follows the sums of a tile. Included after a lanes header.

PFI_INLINE singles activated(singles y, const pfi_activation *a, const float *slope, size_t n) {
    if (a->kind == PFI_PRELU) return if_positive(y, y, times(y, load_singles(slope + n)));
    if (a->kind == PFI_CLIP) return lesser(greater(y, all_singles(a->low)), all_singles(a->high));
    return y;
}

PFI_INLINE words code(singles v, const pfi_sink *s) {
    singles t = lesser(greater(times(v, all_singles(s->scale)), all_singles(s->low)), all_singles(s->high));
    return add_words(rounded(t), all_words(s->zero));
}

/// Sums of one row, integers or floats in memory, through the whole epilogue.
static void finish_row(const pfi_panel *p, const int32_t *integers, const float *numbers, size_t row) {
    const pfi_epilogue *e = p->e;
    for (size_t n = 0; n < p->count; n += PFI_LANES) {
        size_t count = pfi_smaller(PFI_LANES, p->count - n);
        int whole = count == PFI_LANES;
        words sum = no_words();
        singles y;
        if (integers) {
            sum = add_words(load_words(integers + n), load_words(p->correction + n));
            y = to_singles(sum);
        } else {
            y = load_singles(numbers + n);
        }
        y = add_singles(times(y, load_singles(p->scale + n)), load_singles(p->bias + n));
        y = activated(y, &e->first, p->slopes[0], n);
        if (e->residual) {
            const float *from = e->residual + row * e->residual_stride + p->first + n;
            y = add_singles(y, whole ? load_singles(from) : load_some(from, count));
        }
        y = activated(y, &e->second, p->slopes[1], n);
        for (size_t i = 0; i < e->sink_count; i++) {
            const pfi_sink *s = &e->sinks[i];
            size_t at = row * s->stride + p->first + n;
            if (s->kind == PFI_SUMS) {
                if (whole)
                    store_words((int32_t *)s->data + at, sum);
                else
                    store_some_words((int32_t *)s->data + at, sum, count);
                continue;
            }
            singles v = y;
            if (p->factor[i])
                v = add_singles(times(v, load_singles(p->factor[i] + n)), load_singles(p->summand[i] + n));
            if (s->kind == PFI_CODES) {
                words codes = code(v, s);
                if (whole)
                    store_codes((uint8_t *)s->data + at, &codes, 1);
                else
                    store_some_codes((uint8_t *)s->data + at, codes, count);
            } else if (whole) {
                store_singles((float *)s->data + at, v);
            } else {
                store_some((float *)s->data + at, v, count);
            }
        }
    }
    for (size_t i = 0; i < e->sink_count; i++)
        if (p->padding[i])
            memset(
                (uint8_t *)e->sinks[i].data + row * e->sinks[i].stride + p->first + p->count, (int)e->sinks[i].zero,
                p->padding[i]);
}

/// The same in registers, for what is_simple says. y: sums.
PFI_INLINE void finish_simple(
    const pfi_panel *p, singles (*y)[4], const float *scale, const float *bias, const float *slope, const int rows,
    const int vectors, size_t row, void (*const unpacked_codes)(uint8_t *, const words *)) {
    const pfi_epilogue *e = p->e;
    const pfi_sink *s = &e->sinks[0];
    PFI_UNROLL for (int v = 0; v < vectors; v++) {
        singles a = load_singles(scale + v * PFI_LANES), b = load_singles(bias + v * PFI_LANES);
        PFI_UNROLL for (int r = 0; r < rows; r++) y[r][v] = add_singles(times(y[r][v], a), b);
    }
    if (e->first.kind == PFI_PRELU) {
        PFI_UNROLL for (int v = 0; v < vectors; v++) {
            singles a = load_singles(slope + v * PFI_LANES);
            PFI_UNROLL for (int r = 0; r < rows; r++) y[r][v] = if_positive(y[r][v], y[r][v], times(y[r][v], a));
        }
    } else if (e->first.kind == PFI_CLIP) {
        singles low = all_singles(e->first.low), high = all_singles(e->first.high);
        PFI_UNROLL for (int v = 0; v < vectors; v++)
            PFI_UNROLL for (int r = 0; r < rows; r++) y[r][v] = lesser(greater(y[r][v], low), high);
    }
    if (s->kind == PFI_CODES) {
        uint8_t *to = (uint8_t *)s->data + row * s->stride + p->first;
        singles scaled = all_singles(s->scale), low = all_singles(s->low), high = all_singles(s->high);
        words zero = all_words(s->zero);
        PFI_UNROLL for (int r = 0; r < rows; r++) {
            words codes[4];
            PFI_UNROLL for (int v = 0; v < vectors; v++)
                codes[v] = add_words(rounded(lesser(greater(times(y[r][v], scaled), low), high)), zero);
            if (unpacked_codes)
                unpacked_codes(to + r * s->stride, codes);
            else
                store_codes(to + r * s->stride, codes, vectors);
        }
    } else {
        float *to = (float *)s->data + row * s->stride + p->first;
        PFI_UNROLL for (int r = 0; r < rows; r++)
            PFI_UNROLL for (int v = 0; v < vectors; v++) store_singles(to + r * s->stride + v * PFI_LANES, y[r][v]);
    }
}

PFI_INLINE void finish_words(
    const pfi_panel *p, words (*sum)[4], const int rows, const int vectors, size_t row) {
    if (p->is_simple) {
        singles y[pfi_most_rows][4];
        PFI_UNROLL for (int v = 0; v < vectors; v++) {
            words c = load_words(p->correction + v * PFI_LANES);
            PFI_UNROLL for (int r = 0; r < rows; r++) y[r][v] = to_singles(add_words(sum[r][v], c));
        }
        finish_simple(p, y, p->scale, p->bias, p->slopes[0], rows, vectors, row, NULL);
        return;
    }
    int32_t sums[pfi_most_rows][4 * PFI_LANES] __attribute__((aligned(64)));
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_words(&sums[r][v * PFI_LANES], sum[r][v]);
    for (int r = 0; r < rows; r++) finish_row(p, sums[r], NULL, row + (size_t)r);
}

PFI_INLINE void finish_singles(
    const pfi_panel *p, singles (*sum)[4], const int rows, const int vectors, size_t row) {
    if (p->is_simple) {
        finish_simple(p, sum, p->scale, p->bias, p->slopes[0], rows, vectors, row, NULL);
        return;
    }
    float sums[pfi_most_rows][4 * PFI_LANES] __attribute__((aligned(64)));
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_singles(&sums[r][v * PFI_LANES], sum[r][v]);
    for (int r = 0; r < rows; r++) finish_row(p, NULL, sums[r], row + (size_t)r);
}

// MARK: Sums that are continued over chunks of k

PFI_INLINE void begin_words(const pfi_tile *t, words (*sum)[4], const int rows, const int vectors) {
    const int32_t *from = t->partial;
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++)
            sum[r][v] = t->continues ? load_words(from + (r * vectors + v) * PFI_LANES) : no_words();
}

PFI_INLINE void end_words(const pfi_tile *t, words (*sum)[4], const int rows, const int vectors) {
    if (t->is_last) {
        finish_words(t->panel, sum, rows, vectors, t->row);
        return;
    }
    int32_t *to = t->partial;
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_words(to + (r * vectors + v) * PFI_LANES, sum[r][v]);
}

PFI_INLINE void begin_singles(const pfi_tile *t, singles (*sum)[4], const int rows, const int vectors) {
    const float *from = t->partial;
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++)
            sum[r][v] = t->continues ? load_singles(from + (r * vectors + v) * PFI_LANES) : no_singles();
}

PFI_INLINE void end_singles(const pfi_tile *t, singles (*sum)[4], const int rows, const int vectors) {
    if (t->is_last) {
        finish_singles(t->panel, sum, rows, vectors, t->row);
        return;
    }
    float *to = t->partial;
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_singles(to + (r * vectors + v) * PFI_LANES, sum[r][v]);
}
