// Products of bytes 0...127 and weights within ±63: eight products in a 16-bit sum, widened once in 16 channels.
//
// The sum of eight (x - 64)·w is within ±8·64·63 < 2^15, so that of x·w, from which the packed compensation takes 64·w, may wrap on the way.
// What the compensation took is added back: the sum of all of it is the same for every row and lies in the packed weights again, negated.

PFI_INLINE void seven_tile(const pfi_tile *t, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    begin_words(t, sum, rows, vectors);
    const size_t size = sizeof(bytes);
    const int8_t *w = t->weights;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *x[pfi_most_rows];
        PFI_UNROLL for (int r = 0; r < rows; r++) x[r] = pfi_tap(t->base[r], t->padding, t->offsets[r][tap], 1);
        for (size_t c = 0; c < t->length; c += 16, w += (size_t)vectors * 5 * size) {
            bytes half[pfi_most_rows][4];
            PFI_UNROLL for (int q = 0; q < 4; q++) {
                bytes weights[4];
                PFI_UNROLL for (int v = 0; v < vectors; v++) weights[v] = load_bytes(w + (size_t)(q * vectors + v) * size);
                PFI_UNROLL for (int r = 0; r < rows; r++) {
                    bytes b = all_fours(x[r] + c + 4 * q);
                    PFI_UNROLL for (int v = 0; v < vectors; v++)
                        half[r][v] = add_sixteens(
                            q == 0 ? load_bytes(w + (size_t)(4 * vectors + v) * size) : half[r][v],
                            byte_products(b, weights[v]));
                }
            }
            PFI_UNROLL for (int r = 0; r < rows; r++)
                PFI_UNROLL for (int v = 0; v < vectors; v++)
                    sum[r][v] = add_words(sum[r][v], pair_products(half[r][v], all_sixteens(1)));
        }
    }
    end_words(t, sum, rows, vectors);
}
