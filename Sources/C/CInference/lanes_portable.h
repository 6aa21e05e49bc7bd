#pragma once
// "Vectors" of one number: the definition that the others are held against.
#include "inference.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define PFI_LANES 1
#define PFI_INLINE static inline __attribute__((always_inline))

typedef float singles;
typedef int32_t words;

PFI_INLINE singles load_singles(const float *p) { return *p; }
PFI_INLINE void store_singles(float *p, singles v) { *p = v; }
PFI_INLINE words load_words(const int32_t *p) { return *p; }
PFI_INLINE void store_words(int32_t *p, words v) { *p = v; }
PFI_INLINE singles load_some(const float *p, size_t count) { return count ? *p : 0; }
PFI_INLINE void store_some(float *p, singles v, size_t count) {
    if (count) *p = v;
}
PFI_INLINE void store_some_words(int32_t *p, words v, size_t count) {
    if (count) *p = v;
}
/// Number `index` of each group of channels for all of the group, where `x` is at channel `c`.
typedef struct {
    size_t group, index;
} spreading;
PFI_INLINE spreading spreading_of(size_t group, size_t index) { return (spreading){group, index}; }
PFI_INLINE singles load_spread(const float *x, size_t c, size_t count, spreading s) {
    return count ? *(x - c % s.group + s.index) : 0;
}
PFI_INLINE singles all_singles(float x) { return x; }
PFI_INLINE singles no_singles(void) { return 0; }
PFI_INLINE words no_words(void) { return 0; }
PFI_INLINE singles to_singles(words v) { return (float)v; }
PFI_INLINE words add_words(words a, words b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
PFI_INLINE singles add_singles(singles a, singles b) { return a + b; }
PFI_INLINE singles times(singles a, singles b) { return a * b; }
PFI_INLINE singles fused(singles a, singles b, singles c) { return fmaf(a, b, c); }
/// a > b ? a : b, and a < b ? a : b: b where one is no number.
PFI_INLINE singles greater(singles a, singles b) { return a > b ? a : b; }
PFI_INLINE singles lesser(singles a, singles b) { return a < b ? a : b; }
/// y > 0 ? y : y·slope.
PFI_INLINE singles rectified(singles y, singles slope) { return y > 0 ? y : y * slope; }

// MARK: Codes

typedef struct {
    float scale, low, high;
    int32_t zero;
} coding;
PFI_INLINE coding coding_of(const pfi_sink *s) { return (coding){s->scale, s->low, s->high, s->zero}; }
/// Scaled, within what can be converted, rounded to the nearest whole number, ties to even.
PFI_INLINE words coded(singles v, const coding *c) {
    float t = v * c->scale;
    t = t > c->low ? t : c->low;
    t = t < c->high ? t : c->high;
    return (int32_t)((t + 12582912.0f) - 12582912.0f);
}
/// Within low...high, and with the zero added, as bytes.
PFI_INLINE void store_coded(uint8_t *p, const words *v, const int vectors, const coding *c) {
    for (int i = 0; i < vectors; i++) p[i] = (uint8_t)(v[i] + c->zero);
}
PFI_INLINE void store_some_coded(uint8_t *p, words v, size_t count, const coding *c) {
    if (count) *p = (uint8_t)(v + c->zero);
}

// MARK: Transforms

typedef int16_t sixteens;
enum { sixteens_count = 1 };
PFI_INLINE sixteens load_wide(const uint8_t *p) { return *p; }
PFI_INLINE void store_sixteens(int16_t *p, sixteens v) { *p = v; }
PFI_INLINE sixteens plus(sixteens a, sixteens b) { return (int16_t)(a + b); }
PFI_INLINE sixteens minus(sixteens a, sixteens b) { return (int16_t)(a - b); }
PFI_INLINE words subtract_words(words a, words b) { return (int32_t)((uint32_t)a - (uint32_t)b); }
/// v·14913081 / 64, the product modulo 2^32.
PFI_INLINE words exact_576th(words v) { return (int32_t)((uint32_t)v * 14913081u) >> 6; }
