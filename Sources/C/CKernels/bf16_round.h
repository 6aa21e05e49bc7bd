#pragma once
// Rounding to bf16: the upper half of a single-precision number.
#include "head_math.h"

/// To the nearest, ties to even. NaN stays NaN.
PFC_INLINE uint32_t pfc_bf16_nearest(float value) {
    uint32_t bits = (uint32_t)pfc_bits_of_float(value);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded;
}

PFC_INLINE float pfc_bf16_value(uint32_t encoded) { return pfc_float_of_bits((int32_t)(encoded << 16)); }
