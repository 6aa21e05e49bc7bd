// Products of bytes and signed bytes, four at a time: VPDPBUSD.

PFI_INLINE void dot_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    begin_words(t, first, sum, rows, vectors);
    const size_t size = sizeof(bytes);
    const int8_t *w = t->weights;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *x[pfi_most_rows];
        PFI_UNROLL for (int r = 0; r < rows; r++) x[r] = pfi_tap(t->base[first + (size_t)r], t->padding, t->offsets[first + (size_t)r][tap], 1);
        for (size_t c = 0; c < t->length; c += 4, w += (size_t)vectors * size) {
            bytes weights[4];
            PFI_UNROLL for (int v = 0; v < vectors; v++) weights[v] = load_bytes(w + (size_t)v * size);
            PFI_UNROLL for (int r = 0; r < rows; r++) {
                bytes b = all_fours(x[r] + c);
                PFI_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = dot(sum[r][v], b, weights[v]);
            }
        }
    }
    end_words(t, first, sum, rows, vectors);
}
