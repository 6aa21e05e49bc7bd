// Numbers to bytes and back. -ffp-contract=off: the same bits on every processor.
#include <math.h>
#include <string.h>

#include "clones.h"
#include "rows_in_bytes.h"

/// Far above the denormals, so that no quotient depends on whether those are flushed.
static const float smallest_scale = 0x1p-100f;

CLONES void pfc_bytes_encode(
    const float *restrict rows, ptrdiff_t count, ptrdiff_t size, int8_t *restrict codes, float *restrict scales) {
    for (ptrdiff_t i = 0; i < count; i++, rows += size, codes += size) {
        float largest = 0;
        for (ptrdiff_t j = 0; j < size; j++) largest = fabsf(rows[j]) > largest ? fabsf(rows[j]) : largest;
        float scale = largest / 127.0f;
        if (!(scale >= smallest_scale)) scale = 0;
        scales[i] = scale;
        if (scale == 0) {
            memset(codes, 0, (size_t)size);
            continue;
        }
        // Adding 1.5 · 2^23 leaves an integer, to nearest with ties to even, in the low bits.
        const float magic = 0x1.8p23f;
        for (ptrdiff_t j = 0; j < size; j++) {
            float number = rows[j] / scale + magic;
            int32_t bits;
            memcpy(&bits, &number, 4);
            codes[j] = (int8_t)(bits - 0x4b400000);
        }
    }
}

CLONES void pfc_bytes_decode(
    const int8_t *restrict codes, const float *restrict scales, ptrdiff_t count, ptrdiff_t size, float *restrict rows) {
    for (ptrdiff_t i = 0; i < count; i++, rows += size, codes += size)
        for (ptrdiff_t j = 0; j < size; j++) rows[j] = (float)codes[j] * scales[i];
}

CLONES void pfc_bytes_inverse_lengths(
    const int8_t *restrict codes, ptrdiff_t count, ptrdiff_t size, float *restrict inverses) {
    for (ptrdiff_t i = 0; i < count; i++, codes += size) {
        int32_t squares = 0;
        for (ptrdiff_t j = 0; j < size; j++) squares += codes[j] * codes[j];
        inverses[i] = squares > 0 ? (float)(1 / sqrt((double)squares)) : 0;
    }
}

CLONES void pfc_panel_cosines(
    const int32_t *restrict products, ptrdiff_t count, const float *restrict of_rows, const float *restrict of_panel,
    float *restrict cosines) {
    for (ptrdiff_t i = 0; i < count; i++, products += pfc_panel_rows, cosines += pfc_panel_rows)
        for (int j = 0; j < pfc_panel_rows; j++) cosines[j] = (float)products[j] * (of_rows[i] * of_panel[j]);
}

CLONES ptrdiff_t pfc_first_row_above(
    const float *restrict scores, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width, const float *restrict limits) {
    for (ptrdiff_t i = first; i < count; i++) {
        int32_t found = 0;
        for (ptrdiff_t j = 0; j < width; j++) found |= scores[i * width + j] > limits[j];
        if (found) return i;
    }
    return count;
}
