// Products of 16-bit numbers, two at a time: bytes and signed bytes, both widened before, or what Winograd's transforms give.

PFI_INLINE void eight_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    begin_words(t, first, sum, rows, vectors);
    const size_t size = sizeof(bytes);
    const unsigned char *w = t->weights;
    // The operand is gathered: one tap of 16-bit numbers.
    for (size_t c = 0; c < t->length; c += 2, w += (size_t)vectors * size) {
        // Transformed weights are read once or twice only, from far.
        PFI_UNROLL for (size_t line = 0; line < (size_t)vectors * size; line += 64) __builtin_prefetch(w + 4096 + line);
        bytes weights[4];
        PFI_UNROLL for (int v = 0; v < vectors; v++) weights[v] = load_bytes(w + (size_t)v * size);
        PFI_UNROLL for (int r = 0; r < rows; r++) {
            bytes b = all_fours(t->base[first + (size_t)r] + c * 2);
            PFI_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = add_pair_products(sum[r][v], b, weights[v]);
        }
    }
    end_words(t, first, sum, rows, vectors);
}
