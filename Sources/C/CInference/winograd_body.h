// The transforms of Winograd's F(4, 3) in integers. Included after epilogue_body.h. winograd.c has the matrices.

PFI_INLINE sixteens doubled(sixteens v) { return plus(v, v); }
PFI_INLINE words doubled_words(words v) { return add_words(v, v); }

PFI_INLINE void winograd_input_line(const sixteens *d, size_t step, sixteens *t) {
    sixteens a = minus(d[4 * step], doubled(doubled(d[2 * step]))), b = minus(d[3 * step], doubled(doubled(d[step])));
    sixteens c = minus(d[4 * step], d[2 * step]), e = doubled(minus(d[3 * step], d[step]));
    t[0] = plus(doubled(doubled(minus(d[0], d[2 * step]))), c);
    t[1] = plus(a, b);
    t[2] = minus(a, b);
    t[3] = plus(c, e);
    t[4] = minus(c, e);
    t[5] = minus(minus(d[5 * step], d[3 * step]), doubled(e));
}

static void winograd_input(const pfi_winograd_input *o) {
    for (size_t c = 0; c < o->channels; c += sixteens_count) {
        sixteens columns[36];  // [column of pixels][line of the transform]
        PFI_UNROLL for (int j = 0; j < 6; j++) {
            sixteens d[6];
            PFI_UNROLL for (int i = 0; i < 6; i++) d[i] = load_wide(o->pixels[6 * i + j] + c);
            winograd_input_line(d, 1, columns + 6 * j);
        }
        PFI_UNROLL for (int i = 0; i < 6; i++) {
            sixteens t[6];
            winograd_input_line(columns + i, 6, t);
            PFI_UNROLL for (int j = 0; j < 6; j++) store_sixteens(o->to + (size_t)(6 * i + j) * o->distance + c, t[j]);
        }
    }
}

PFI_INLINE void winograd_output_line(const words *m, size_t step, words *y, size_t y_step) {
    words p = add_words(m[step], m[2 * step]), q = subtract_words(m[step], m[2 * step]);
    words r = add_words(m[3 * step], m[4 * step]), s = doubled_words(subtract_words(m[3 * step], m[4 * step]));
    y[0] = add_words(add_words(m[0], p), r);
    y[y_step] = add_words(q, s);
    y[2 * y_step] = add_words(p, doubled_words(doubled_words(r)));
    y[3 * y_step] = add_words(add_words(q, doubled_words(doubled_words(s))), doubled_words(m[5 * step]));
}

PFI_INLINE void winograd_output_panel(const pfi_winograd_output *o, const int vectors) {
    words sums[16][4];
    for (int v = 0; v < vectors; v++) {
        const int32_t *from = o->from + v * PFI_LANES;
        words lines[24];  // [output line][column of the transform]
        PFI_UNROLL for (int j = 0; j < 6; j++) {
            words m[6];
            PFI_UNROLL for (int i = 0; i < 6; i++) m[i] = load_words(from + (size_t)(6 * i + j) * o->distance);
            winograd_output_line(m, 1, lines + j, 6);
        }
        words correction = load_words(o->panel->correction + v * PFI_LANES);
        PFI_UNROLL for (int i = 0; i < 4; i++) {
            words y[4];
            winograd_output_line(lines + 6 * i, 1, y, 1);
            PFI_UNROLL for (int j = 0; j < 4; j++) sums[4 * i + j][v] = add_words(exact_576th(y[j]), correction);
        }
    }
    for (size_t y = 0; y < o->height; y++) {
        size_t row = o->row + y * o->line_rows;
        if (o->width == 4)
            finish_words(o->panel, sums + 4 * y, 4, vectors, row);
        else
            for (size_t x = 0; x < o->width; x++) finish_words(o->panel, sums + 4 * y + x, 1, vectors, row + x);
    }
}

static void winograd_output(const pfi_winograd_output *o) {
    if (o->vectors == 4)
        winograd_output_panel(o, 4);
    else if (o->vectors == 2)
        winograd_output_panel(o, 2);
    else
        winograd_output_panel(o, 1);
}
