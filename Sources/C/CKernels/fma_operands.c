// Operands in the order in which the kernels of fma.h read them.
#include "bf16_round.h"
#include "fma.h"
#include "head_math.h"

void pfc_fma_pack_dimensions(
    const float *normalized, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t size, float *packed) {
    for (ptrdiff_t first = 0; first < lanes; first += pfc_fma_lanes)
        for (ptrdiff_t d = 0; d < size; d++)
            for (ptrdiff_t i = first; i < first + pfc_fma_lanes; i++)
                *packed++ = i < samples ? normalized[i * size + d] : 0.0f;
}

void pfc_fma_pack_samples(const float *normalized, ptrdiff_t samples, ptrdiff_t size, float *packed) {
    enum { width = 16 };
    for (ptrdiff_t start = 0; start < size; start += width)
        for (ptrdiff_t i = 0; i < samples; i++)
            for (ptrdiff_t d = start; d < start + width; d++) *packed++ = d < size ? normalized[i * size + d] : 0.0f;
}

void pfc_fma_unpack(const float *numerator, ptrdiff_t samples, ptrdiff_t size, float *unpacked) {
    ptrdiff_t padded = (size + pfc_fma_panel - 1) / pfc_fma_panel * pfc_fma_panel;
    for (ptrdiff_t i = 0; i < samples; i++) {
        const float *lane = numerator + i / pfc_fma_lanes * padded * pfc_fma_lanes + i % pfc_fma_lanes;
        for (ptrdiff_t d = 0; d < size; d++) unpacked[i * size + d] = lane[d * pfc_fma_lanes];
    }
}

PFC_INLINE float value_at(const float *rows, const uint16_t *halves, ptrdiff_t index) {
    return rows ? rows[index] : pfc_bf16_value(halves[index]);
}

/// One row's part of a panel.
PFC_INLINE void pack_part(
    const float *rows, const uint16_t *halves, float inverse, ptrdiff_t from, ptrdiff_t count, float *restrict out) {
    for (ptrdiff_t d = 0; d < count; d++) out[d] = value_at(rows, halves, from + d) * inverse;
}

/// Rows f32 or bf16: the other is null.
PFC_INLINE void pack_rows(
    const float *rows, const uint16_t *halves, const float *inverse_norms, ptrdiff_t row_count, ptrdiff_t padded,
    ptrdiff_t size, float *packed) {
    // Of so many rows a part of a panel is whole lines.
    enum { together = 4 };
    ptrdiff_t whole = size / pfc_fma_panel * pfc_fma_panel;
    for (ptrdiff_t first = 0; first < padded; first += together)
        for (ptrdiff_t start = 0; start < size; start += pfc_fma_panel) {
            float *out = packed + start * padded + first * pfc_fma_panel;
            for (ptrdiff_t j = first; j < first + together; j++, out += pfc_fma_panel) {
                ptrdiff_t from = j * size + start, count = size - start;
                if (j < row_count && start < whole) {
                    pack_part(rows, halves, inverse_norms[j], from, pfc_fma_panel, out);
                } else {
                    for (ptrdiff_t d = 0; d < pfc_fma_panel; d++) out[d] = 0.0f;
                    if (j < row_count) pack_part(rows, halves, inverse_norms[j], from, count, out);
                }
            }
        }
}

PFC_CLONES void pfc_fma_pack_rows(
    const float *rows, const float *inverse_norms, ptrdiff_t row_count, ptrdiff_t padded, ptrdiff_t size,
    float *packed) {
    pack_rows(rows, 0, inverse_norms, row_count, padded, size, packed);
}

PFC_CLONES void pfc_fma_pack_rows_bf16(
    const uint16_t *rows, const float *inverse_norms, ptrdiff_t row_count, ptrdiff_t padded, ptrdiff_t size,
    float *packed) {
    pack_rows(0, rows, inverse_norms, row_count, padded, size, packed);
}
