#pragma once
// Numbers as they are kept, to and from floats, with random bits for what rounding leaves out.
#include <string.h>

#include "bf16_round.h"
#include "codec.h"
#include "head_vectors.h"
#include "rows.h"

PFC_INLINE ptrdiff_t row_bytes_of(pfc_format format, ptrdiff_t size) {
    switch (format) {
    case pfc_format_f32: return 4 * size;
    case pfc_format_bf16: return 2 * size;
    case pfc_format_int8: return pfc_head_int8_row_bytes(size);
    case pfc_format_none: return 0;
    }
    return 0;
}

/// Random bits of number `d` of a row: lowbias32 (Chris Wellons, Hash function prospector, 2018) of a counter.
PFC_INLINE uint32_t random_bits(uint32_t key, ptrdiff_t d) {
    uint32_t x = key + (uint32_t)d * 0x9E3779B9u;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) * 0x735a2d97u;
    return x ^ (x >> 15);
}

/// The SplitMix64 finaliser.
PFC_INLINE uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

PFC_INLINE void encode_bf16(
    const float *restrict values, ptrdiff_t size, uint32_t key, int shift, int nearest, uint16_t *restrict row) {
    if (nearest) {
        for (ptrdiff_t d = 0; d < size; d++) row[d] = (uint16_t)pfc_bf16_nearest(values[d]);
    } else {
        for (ptrdiff_t d = 0; d < size; d++)
            row[d] = (uint16_t)(((uint32_t)pfc_bits_of_float(values[d]) + ((random_bits(key, d) >> shift) & 0xffff)) >> 16);
    }
}

/// Key of the random bits of a row.
PFC_INLINE uint32_t row_key(uint64_t key, int64_t id) {
    return (uint32_t)mix(key + (uint64_t)id * 0x9E3779B97F4A7C15ULL);
}

PFC_INLINE void encode_int8(
    const float *restrict values, ptrdiff_t size, uint32_t key, int nearest, int8_t *restrict row) {
    float lane[lanes] = {0};
    ptrdiff_t j = 0;
    for (; j + lanes <= size; j += lanes)
        for (int k = 0; k < lanes; k++) {
            float a = pfc_float_of_bits(pfc_bits_of_float(values[j + k]) & 0x7fffffff);
            lane[k] = a > lane[k] ? a : lane[k];
        }
    float largest = 0.0f;
    for (int k = 0; k < lanes; k++) largest = lane[k] > largest ? lane[k] : largest;
    for (; j < size; j++) {
        float a = pfc_float_of_bits(pfc_bits_of_float(values[j]) & 0x7fffffff);
        largest = a > largest ? a : largest;
    }
    float scale = largest * (1.0f / 127.0f), inverse = largest > 0x1p-100f ? 127.0f / largest : 0.0f;
    for (ptrdiff_t d = 0; d < size; d++) {
        // Below by adding a number that leaves no room for a fraction; above 127 only by rounding.
        float offset = nearest ? 0.0f : (float)(int32_t)(random_bits(key, d) >> 16) * 0x1p-16f - 0.5f;
        float shifted = values[d] * inverse + offset + 0x1.8p23f;
        int32_t q = pfc_bits_of_float(shifted) - 0x4b400000;
        row[d] = (int8_t)(q > 127 ? 127 : (q < -127 ? -127 : q));
    }
    memcpy((char *)row + (size + 3) / 4 * 4, &scale, 4);
}

PFC_INLINE void decode_row(pfc_format format, const void *row, ptrdiff_t size, float *restrict values) {
    const uint16_t *halves = row;
    const int8_t *bytes = row;
    float scale;
    switch (format) {
    case pfc_format_f32: memcpy(values, row, (size_t)size * 4); break;
    case pfc_format_bf16:
        for (ptrdiff_t d = 0; d < size; d++) values[d] = pfc_bf16_value(halves[d]);
        break;
    case pfc_format_int8:
        memcpy(&scale, bytes + (size + 3) / 4 * 4, 4);
        for (ptrdiff_t d = 0; d < size; d++) values[d] = (float)bytes[d] * scale;
        break;
    case pfc_format_none:
        for (ptrdiff_t d = 0; d < size; d++) values[d] = 0.0f;
        break;
    }
}

PFC_INLINE void encode_row(
    pfc_format format, const float *values, ptrdiff_t size, uint32_t key, int shift, int nearest, void *row) {
    switch (format) {
    case pfc_format_f32: memcpy(row, values, (size_t)size * 4); break;
    case pfc_format_bf16: encode_bf16(values, size, key, shift, nearest, row); break;
    case pfc_format_int8: encode_int8(values, size, key, nearest, row); break;
    case pfc_format_none: break;
    }
}
