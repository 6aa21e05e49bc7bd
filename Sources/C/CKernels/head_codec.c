// Rows in fewer bytes: bf16, and int8 with a scale for each row. Elementwise, in integers where denormals could matter.
#include "bf16_round.h"
#include "codec.h"

enum { block = 1024 };

PFC_CLONES void pfc_head_encode_bf16(const float *values, ptrdiff_t count, uint16_t *restrict encoded) {
    for (ptrdiff_t i = 0; i < count; i++) encoded[i] = (uint16_t)pfc_bf16_nearest(values[i]);
}

PFC_CLONES void pfc_head_decode_bf16(const uint16_t *encoded, ptrdiff_t count, float *restrict values) {
    for (ptrdiff_t i = 0; i < count; i++) values[i] = pfc_bf16_value(encoded[i]);
}

PFC_CLONES ptrdiff_t pfc_head_first_nonfinite_bf16(const uint16_t *encoded, ptrdiff_t count) {
    for (ptrdiff_t start = 0; start < count; start += block) {
        ptrdiff_t end = start + block < count ? start + block : count;
        uint16_t bad = 0;
        for (ptrdiff_t j = start; j < end; j++) bad |= (encoded[j] & 0x7f80) == 0x7f80;
        if (bad)
            for (ptrdiff_t j = start; j < end; j++)
                if ((encoded[j] & 0x7f80) == 0x7f80) return j;
    }
    return -1;
}

/// The smallest magnitude that is rounded to an infinity.
static const int32_t overflow = 0x7f7f8000;

PFC_CLONES ptrdiff_t pfc_head_first_overflow_bf16(const float *values, ptrdiff_t count) {
    for (ptrdiff_t start = 0; start < count; start += block) {
        ptrdiff_t end = start + block < count ? start + block : count;
        int32_t bad = 0;
        for (ptrdiff_t j = start; j < end; j++) bad |= (pfc_bits_of_float(values[j]) & 0x7fffffff) >= overflow;
        if (bad)
            for (ptrdiff_t j = start; j < end; j++)
                if ((pfc_bits_of_float(values[j]) & 0x7fffffff) >= overflow) return j;
    }
    return -1;
}

/// Far above the denormals, so that no quotient and no product depends on whether those are flushed.
static const float smallest_scale = 0x1p-100f;

PFC_CLONES void pfc_head_encode_int8(const float *rows, ptrdiff_t count, ptrdiff_t size, void *restrict encoded) {
    int8_t *row = encoded;
    ptrdiff_t bytes = pfc_head_int8_row_bytes(size);
    for (ptrdiff_t i = 0; i < count; i++, rows += size, row += bytes) {
        // Magnitudes are ordered like their bits, infinities and NaNs above all.
        int32_t largest = 0;
        for (ptrdiff_t j = 0; j < size; j++) {
            int32_t bits = pfc_bits_of_float(rows[j]) & 0x7fffffff;
            largest = bits > largest ? bits : largest;
        }
        // 16 bits of significand, rounded up: every number times the scale is exact, so that a decoded row is encoded to the
        // same bytes again. The largest is still 127.
        float scale = pfc_float_of_bits(largest) / 127.0f;
        scale = pfc_float_of_bits((pfc_bits_of_float(scale) + 0xff) & ~0xff);
        memset(row + size, 0, (size_t)(bytes - 4 - size));
        if (scale < smallest_scale) scale = 0.0f;
        if (scale == 0.0f || largest >= 0x7f800000) {
            memset(row, 0, (size_t)size);
        } else {
            const float magic = 0x1.8p23f;
            for (ptrdiff_t j = 0; j < size; j++) {
                float number = rows[j] / scale + magic;
                row[j] = (int8_t)(pfc_bits_of_float(number) - pfc_bits_of_float(magic));
            }
        }
        memcpy(row + bytes - 4, &scale, 4);
    }
}

PFC_CLONES void pfc_head_decode_int8(const void *encoded, ptrdiff_t count, ptrdiff_t size, float *restrict rows) {
    const int8_t *row = encoded;
    ptrdiff_t bytes = pfc_head_int8_row_bytes(size);
    for (ptrdiff_t i = 0; i < count; i++, rows += size, row += bytes) {
        float scale;
        memcpy(&scale, row + bytes - 4, 4);
        for (ptrdiff_t j = 0; j < size; j++) rows[j] = (float)row[j] * scale;
    }
}
