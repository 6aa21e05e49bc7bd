// Products of bytes 0...127 and weights within ±63: four of them fit a 16-bit sum (4·127·63 < 2^15), which is widened once in eight channels.
//
// Eight would fit too (a compensation of -64·w per product makes the sum of eight that of numbers within ±64·63), and take 5 multiplications
// instead of 6 for 128 products. Measured, it is slower in every layer: more registers, a quarter more to read.

PFI_INLINE void seven_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    begin_words(t, first, sum, rows, vectors);
    const size_t size = sizeof(bytes);
    const int8_t *w = t->weights;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *x[pfi_most_rows];
        PFI_UNROLL for (int r = 0; r < rows; r++)
            x[r] = pfi_tap(t->base[first + (size_t)r], t->padding, t->offsets[first + (size_t)r][tap], 1);
        PFI_TWICE for (size_t c = 0; c < t->length; c += 8, w += (size_t)vectors * 2 * size) {
            bytes weights[2][4];
            PFI_UNROLL for (int v = 0; v < 2 * vectors; v++)
                weights[v / vectors][v % vectors] = load_bytes(w + (size_t)v * size);
            PFI_UNROLL for (int r = 0; r < rows; r++) {
                bytes a = all_fours(x[r] + c), b = all_fours(x[r] + c + 4);
                PFI_UNROLL for (int v = 0; v < vectors; v++) {
                    bytes half = add_sixteens(byte_products(a, weights[0][v]), byte_products(b, weights[1][v]));
                    sum[r][v] = add_words(sum[r][v], pair_products(half, all_sixteens(1)));
                }
            }
        }
    }
    end_words(t, first, sum, rows, vectors);
}
