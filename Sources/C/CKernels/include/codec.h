#pragma once
// How rows of numbers are kept in fewer bytes. Pointers need only the alignment of their element. Every result is the same
// bits on every CPU, and whether or not denormals are flushed.
#include <stddef.h>
#include <stdint.h>

// MARK: bf16, the upper 16 bits of a float

/// encoded[i] = values[i] rounded to nearest, ties to even. What is too large becomes infinite, a NaN stays one.
void pfc_head_encode_bf16(const float *values, ptrdiff_t count, uint16_t *encoded);

/// values[i] = encoded[i], exactly.
void pfc_head_decode_bf16(const uint16_t *encoded, ptrdiff_t count, float *values);

/// Index of the first of `count` bf16 numbers that is infinite or NaN, or -1.
ptrdiff_t pfc_head_first_nonfinite_bf16(const uint16_t *encoded, ptrdiff_t count);

/// Index of the first of `count` numbers that is infinite or NaN once it is rounded to bf16, or -1.
ptrdiff_t pfc_head_first_overflow_bf16(const float *values, ptrdiff_t count);

// MARK: int8 with a scale for each row

/// Bytes of a row: `size` int8 numbers, zeros up to a multiple of 4, then the scale as a float.
static inline ptrdiff_t pfc_head_int8_row_bytes(ptrdiff_t size) { return (size + 3) / 4 * 4 + 4; }

/// Encodes `count` rows: scale = max |value| / 127, rounded up to 16 bits of significand, number = value / scale rounded to
/// nearest, ties to even. A row whose scale would be below 2^-100 counts as zeros. One with an infinity or a NaN is decoded
/// to NaNs. A decoded row is encoded to the same bytes again.
void pfc_head_encode_int8(const float *rows, ptrdiff_t count, ptrdiff_t size, void *encoded);

/// row = number * scale for `count` rows, exactly.
void pfc_head_decode_int8(const void *encoded, ptrdiff_t count, ptrdiff_t size, float *rows);
