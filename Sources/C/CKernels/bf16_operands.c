// Operands in the order in which the kernels read them.
#include "bf16.h"
#include "bf16_round.h"

void pfc_bf16_pack_dimensions(
    const float *normalized, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t size, uint32_t *packed) {
    for (ptrdiff_t k = 0; k < size / 2; k++) {
        for (ptrdiff_t i = 0; i < samples; i++) {
            const float *x = normalized + i * size + 2 * k;
            packed[k * lanes + i] = pfc_bf16_nearest(x[0]) | pfc_bf16_nearest(x[1]) << 16;
        }
        for (ptrdiff_t i = samples; i < lanes; i++) packed[k * lanes + i] = 0;
    }
}

PFC_CLONES void pfc_bf16_pack_samples(
    const float *normalized, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t size, uint32_t *packed) {
    ptrdiff_t pairs = lanes / 2;
    for (ptrdiff_t start = 0; start < size; start += pfc_bf16_panel) {
        ptrdiff_t width = size - start < pfc_bf16_panel ? size - start : pfc_bf16_panel;
        for (ptrdiff_t k = 0; k < pairs; k++) {
            uint32_t *restrict out = packed + start * pairs + k * width;
            const float *a = normalized + 2 * k * size + start, *b = a + size;
            if (2 * k + 1 < samples) {
                for (ptrdiff_t d = 0; d < width; d++) out[d] = pfc_bf16_nearest(a[d]) | pfc_bf16_nearest(b[d]) << 16;
            } else if (2 * k < samples) {
                for (ptrdiff_t d = 0; d < width; d++) out[d] = pfc_bf16_nearest(a[d]);
            } else {
                for (ptrdiff_t d = 0; d < width; d++) out[d] = 0;
            }
        }
    }
}

PFC_CLONES void pfc_bf16_pack_rows(const uint16_t *rows, ptrdiff_t row_count, ptrdiff_t size, uint32_t *packed) {
    ptrdiff_t pairs = (row_count + 1) / 2;
    for (ptrdiff_t k = 0; k < pairs; k++) {
        const uint16_t *a = rows + 2 * k * size, *b = a + size;
        int is_pair = 2 * k + 1 < row_count;
        for (ptrdiff_t start = 0; start < size; start += pfc_bf16_panel) {
            ptrdiff_t width = size - start < pfc_bf16_panel ? size - start : pfc_bf16_panel;
            uint32_t *restrict out = packed + start * pairs + k * width;
            if (is_pair)
                for (ptrdiff_t d = 0; d < width; d++) out[d] = a[start + d] | (uint32_t)b[start + d] << 16;
            else
                for (ptrdiff_t d = 0; d < width; d++) out[d] = a[start + d];
        }
    }
}
