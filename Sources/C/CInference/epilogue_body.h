// What follows the sums of a tile. Included after a lanes header.

PFI_INLINE singles activated(singles y, const pfi_activation *a, const float *slope, size_t n) {
    if (a->kind == PFI_PRELU) return rectified(y, load_singles(slope + n));
    if (a->kind == PFI_CLIP) return lesser(greater(y, all_singles(a->low)), all_singles(a->high));
    return y;
}

/// Sums of one row, integers or floats in memory, through any epilogue.
static void finish_row(const pfi_panel *p, const int32_t *integers, const float *numbers, size_t row) {
    const pfi_epilogue *e = p->e;
    for (size_t n = 0; n < p->count; n += PFI_LANES) {
        size_t count = pfi_smaller(PFI_LANES, p->count - n);
        int whole = count == PFI_LANES;
        words sum = integers ? load_words(integers + n) : no_words();
        singles y = integers ? to_singles(sum) : load_singles(numbers + n);
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
                coding c = coding_of(s);
                words codes = coded(v, &c);
                if (whole)
                    store_coded((uint8_t *)s->data + at, &codes, 1, &c);
                else
                    store_some_coded((uint8_t *)s->data + at, codes, count, &c);
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

// MARK: In registers, for panels that are_whole

PFI_INLINE void scale_all(singles (*y)[4], const float *scale, const float *bias, const int rows, const int vectors) {
    PFI_UNROLL for (int v = 0; v < vectors; v++) {
        singles a = load_singles(scale + v * PFI_LANES), b = load_singles(bias + v * PFI_LANES);
        PFI_UNROLL for (int r = 0; r < rows; r++) y[r][v] = add_singles(times(y[r][v], a), b);
    }
}

PFI_INLINE void activate_all(
    singles (*y)[4], const pfi_activation *a, const float *slope, const int rows, const int vectors) {
    if (a->kind == PFI_PRELU) {
        PFI_UNROLL for (int v = 0; v < vectors; v++) {
            singles factor = load_singles(slope + v * PFI_LANES);
            PFI_UNROLL for (int r = 0; r < rows; r++) y[r][v] = rectified(y[r][v], factor);
        }
    } else if (a->kind == PFI_CLIP) {
        singles low = all_singles(a->low), high = all_singles(a->high);
        PFI_UNROLL for (int v = 0; v < vectors; v++)
            PFI_UNROLL for (int r = 0; r < rows; r++) y[r][v] = lesser(greater(y[r][v], low), high);
    }
}

/// Scaled and activated numbers to where they go.
PFI_INLINE void finish_whole(const pfi_panel *p, singles (*y)[4], const int rows, const int vectors, size_t row) {
    const pfi_epilogue *e = p->e;
    if (e->residual) {
        const float *from = e->residual + row * e->residual_stride + p->first;
        PFI_UNROLL for (int r = 0; r < rows; r++)
            PFI_UNROLL for (int v = 0; v < vectors; v++)
                y[r][v] = add_singles(y[r][v], load_singles(from + (size_t)r * e->residual_stride + v * PFI_LANES));
    }
    activate_all(y, &e->second, p->slopes[1], rows, vectors);
    for (size_t i = 0; i < e->sink_count; i++) {
        const pfi_sink *s = &e->sinks[i];
        const float *factor = p->factor[i], *summand = p->summand[i];
        if (s->kind == PFI_CODES) {
            uint8_t *to = (uint8_t *)s->data + row * s->stride + p->first;
            coding c = coding_of(s);
            PFI_UNROLL for (int r = 0; r < rows; r++) {
                words codes[4];
                PFI_UNROLL for (int v = 0; v < vectors; v++) {
                    singles z = y[r][v];
                    if (factor)
                        z = add_singles(times(z, load_singles(factor + v * PFI_LANES)), load_singles(summand + v * PFI_LANES));
                    codes[v] = coded(z, &c);
                }
                store_coded(to + (size_t)r * s->stride, codes, vectors, &c);
            }
        } else {
            float *to = (float *)s->data + row * s->stride + p->first;
            PFI_UNROLL for (int r = 0; r < rows; r++)
                PFI_UNROLL for (int v = 0; v < vectors; v++) {
                    singles z = y[r][v];
                    if (factor)
                        z = add_singles(times(z, load_singles(factor + v * PFI_LANES)), load_singles(summand + v * PFI_LANES));
                    store_singles(to + (size_t)r * s->stride + v * PFI_LANES, z);
                }
        }
    }
}

PFI_INLINE void finish_words(const pfi_panel *p, words (*sum)[4], const int rows, const int vectors, size_t row) {
    if (p->is_whole) {
        singles y[pfi_most_rows][4];
        PFI_UNROLL for (int r = 0; r < rows; r++)
            PFI_UNROLL for (int v = 0; v < vectors; v++) y[r][v] = to_singles(sum[r][v]);
        scale_all(y, p->scale, p->bias, rows, vectors);
        activate_all(y, &p->e->first, p->slopes[0], rows, vectors);
        finish_whole(p, y, rows, vectors, row);
        return;
    }
    int32_t sums[pfi_most_rows][4 * PFI_LANES] __attribute__((aligned(64)));
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_words(&sums[r][v * PFI_LANES], sum[r][v]);
    for (int r = 0; r < rows; r++) finish_row(p, sums[r], NULL, row + (size_t)r);
}

PFI_INLINE void finish_singles(const pfi_panel *p, singles (*sum)[4], const int rows, const int vectors, size_t row) {
    if (p->is_whole) {
        scale_all(sum, p->scale, p->bias, rows, vectors);
        activate_all(sum, &p->e->first, p->slopes[0], rows, vectors);
        finish_whole(p, sum, rows, vectors, row);
        return;
    }
    float sums[pfi_most_rows][4 * PFI_LANES] __attribute__((aligned(64)));
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_singles(&sums[r][v * PFI_LANES], sum[r][v]);
    for (int r = 0; r < rows; r++) finish_row(p, NULL, sums[r], row + (size_t)r);
}

// MARK: Sums that are continued over chunks of k

PFI_INLINE void begin_words(const pfi_tile *t, size_t first, words (*sum)[4], const int rows, const int vectors) {
    const int32_t *from = (const int32_t *)t->partial + first * (size_t)(vectors * PFI_LANES);
    if (t->continues) {
        PFI_UNROLL for (int r = 0; r < rows; r++)
            PFI_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = load_words(from + (r * vectors + v) * PFI_LANES);
    } else {
        PFI_UNROLL for (int v = 0; v < vectors; v++) {
            words correction = load_words(t->panel->correction + v * PFI_LANES);
            PFI_UNROLL for (int r = 0; r < rows; r++) sum[r][v] = correction;
        }
    }
}

PFI_INLINE void end_words(const pfi_tile *t, size_t first, words (*sum)[4], const int rows, const int vectors) {
    if (t->is_last) {
        finish_words(t->panel, sum, rows, vectors, t->row + first);
        return;
    }
    int32_t *to = (int32_t *)t->partial + first * (size_t)(vectors * PFI_LANES);
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_words(to + (r * vectors + v) * PFI_LANES, sum[r][v]);
}

PFI_INLINE void begin_singles(const pfi_tile *t, size_t first, singles (*sum)[4], const int rows, const int vectors) {
    const float *from = (const float *)t->partial + first * (size_t)(vectors * PFI_LANES);
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++)
            sum[r][v] = t->continues ? load_singles(from + (r * vectors + v) * PFI_LANES) : no_singles();
}

PFI_INLINE void end_singles(const pfi_tile *t, size_t first, singles (*sum)[4], const int rows, const int vectors) {
    if (t->is_last) {
        finish_singles(t->panel, sum, rows, vectors, t->row + first);
        return;
    }
    float *to = (float *)t->partial + first * (size_t)(vectors * PFI_LANES);
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) store_singles(to + (r * vectors + v) * PFI_LANES, sum[r][v]);
}
