#pragma once
// Sixteen numbers in a vector: AVX-512 F, BW, DQ, VL. Included where that target is set.
#include "inference.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define PFI_LANES 16
#define PFI_INLINE static inline __attribute__((always_inline))

typedef __m512 singles;
typedef __m512i words;
typedef __m512i bytes;

PFI_INLINE singles load_singles(const float *p) { return _mm512_loadu_ps(p); }
PFI_INLINE void store_singles(float *p, singles v) { _mm512_storeu_ps(p, v); }
PFI_INLINE words load_words(const int32_t *p) { return _mm512_loadu_si512(p); }
PFI_INLINE void store_words(int32_t *p, words v) { _mm512_storeu_si512(p, v); }
PFI_INLINE __mmask16 first_lanes(size_t count) { return (__mmask16)((1u << count) - 1); }
PFI_INLINE singles load_some(const float *p, size_t count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
PFI_INLINE void store_some(float *p, singles v, size_t count) { _mm512_mask_storeu_ps(p, first_lanes(count), v); }
PFI_INLINE void store_some_words(int32_t *p, words v, size_t count) {
    _mm512_mask_storeu_epi32(p, first_lanes(count), v);
}
/// Number `index` of each group of channels for all of the group, where `x` is at channel `c`.
typedef __m512i spreading;
PFI_INLINE spreading spreading_of(size_t group, size_t index) {
    __m512i counted = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i first = _mm512_andnot_si512(_mm512_set1_epi32((int)group - 1), counted);
    return _mm512_add_epi32(first, _mm512_set1_epi32((int)index));
}
PFI_INLINE singles load_spread(const float *x, size_t c, size_t count, spreading s) {
    (void)c;
    return _mm512_permutexvar_ps(s, count < PFI_LANES ? load_some(x, count) : load_singles(x));
}
PFI_INLINE singles all_singles(float x) { return _mm512_set1_ps(x); }
PFI_INLINE singles no_singles(void) { return _mm512_setzero_ps(); }
PFI_INLINE words no_words(void) { return _mm512_setzero_si512(); }
PFI_INLINE singles to_singles(words v) { return _mm512_cvtepi32_ps(v); }
PFI_INLINE words add_words(words a, words b) { return _mm512_add_epi32(a, b); }
PFI_INLINE singles add_singles(singles a, singles b) { return _mm512_add_ps(a, b); }
PFI_INLINE singles times(singles a, singles b) { return _mm512_mul_ps(a, b); }
PFI_INLINE singles fused(singles a, singles b, singles c) { return _mm512_fmadd_ps(a, b, c); }
PFI_INLINE singles greater(singles a, singles b) { return _mm512_max_ps(a, b); }
PFI_INLINE singles lesser(singles a, singles b) { return _mm512_min_ps(a, b); }
PFI_INLINE singles rectified(singles y, singles slope) {
    return _mm512_mask_mul_ps(y, _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_NGT_UQ), y, slope);
}

// MARK: Codes

typedef struct {
    __m512 scale, high;
    __m512i low, zero;  // 16 bits
} coding;
PFI_INLINE coding coding_of(const pfi_sink *s) {
    return (coding){
        _mm512_set1_ps(s->scale), _mm512_set1_ps(s->high), _mm512_set1_epi16((int16_t)s->low),
        _mm512_set1_epi16((int16_t)s->zero)};
}
/// What is too small, and NaN, becomes the least number, which stays below `low` in 16 bits.
PFI_INLINE words coded(singles v, const coding *c) {
    return _mm512_cvtps_epi32(_mm512_min_ps(c->high, _mm512_mul_ps(v, c->scale)));
}
PFI_INLINE __m512i sixteens_of(words a, words b, const coding *c) {
    return _mm512_add_epi16(_mm512_max_epi16(_mm512_packs_epi32(a, b), c->low), c->zero);
}
/// Four vectors in the order of two rounds of unpacking: as bytes in the order of memory.
PFI_INLINE void store_unpacked_coded(uint8_t *p, const words *v, const coding *c) {
    _mm512_storeu_si512(p, _mm512_packus_epi16(sixteens_of(v[0], v[1], c), sixteens_of(v[2], v[3], c)));
}
PFI_INLINE void store_coded(uint8_t *p, const words *v, const int vectors, const coding *c) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i sixteens = sixteens_of(v[0], v[vectors > 1 ? 1 : 0], c);
    __m512i more = vectors == 4 ? sixteens_of(v[2], v[3], c) : sixteens;
    __m512i codes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(sixteens, more));
    if (vectors == 4)
        _mm512_storeu_si512(p, codes);
    else if (vectors == 2)
        _mm256_storeu_si256((__m256i *)(void *)p, _mm512_castsi512_si256(codes));
    else
        _mm_storeu_si128((__m128i *)(void *)p, _mm512_castsi512_si128(codes));
}
PFI_INLINE void store_some_coded(uint8_t *p, words v, size_t count, const coding *c) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i sixteens = sixteens_of(v, v, c);
    __m512i codes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(sixteens, sixteens));
    _mm_mask_storeu_epi8(p, first_lanes(count), _mm512_castsi512_si128(codes));
}

// MARK: Bytes and 16-bit numbers

PFI_INLINE bytes load_bytes(const void *p) { return _mm512_loadu_si512(p); }
PFI_INLINE bytes load_some_bytes(const void *p, size_t count) {
    return _mm512_maskz_loadu_epi8(count < 64 ? ((__mmask64)1 << count) - 1 : ~(__mmask64)0, p);
}
PFI_INLINE bytes all_fours(const void *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
}
/// Number `index` of each group of bytes for all of the group.
PFI_INLINE bytes byte_spreading(size_t group, size_t index) {
    __m128i counted = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i first = _mm_andnot_si128(_mm_set1_epi8((char)(group - 1)), counted);
    return _mm512_broadcast_i32x4(_mm_add_epi8(first, _mm_set1_epi8((char)index)));
}
PFI_INLINE bytes spread_bytes(bytes v, bytes spreading) { return _mm512_shuffle_epi8(v, spreading); }
PFI_INLINE bytes no_bytes(void) { return _mm512_setzero_si512(); }
PFI_INLINE bytes all_sixteens(int16_t x) { return _mm512_set1_epi16(x); }
PFI_INLINE bytes add_sixteens(bytes a, bytes b) { return _mm512_add_epi16(a, b); }
/// Sums of two products: of unsigned and signed bytes in 16 bits, of 16-bit numbers in 32.
PFI_INLINE bytes byte_products(bytes u, bytes s) { return _mm512_maddubs_epi16(u, s); }
PFI_INLINE words pair_products(bytes a, bytes b) { return _mm512_madd_epi16(a, b); }
PFI_INLINE bytes low_bytes(bytes a, bytes b) { return _mm512_unpacklo_epi8(a, b); }
PFI_INLINE bytes high_bytes(bytes a, bytes b) { return _mm512_unpackhi_epi8(a, b); }
PFI_INLINE bytes low_pairs(bytes a, bytes b) { return _mm512_unpacklo_epi16(a, b); }
PFI_INLINE bytes high_pairs(bytes a, bytes b) { return _mm512_unpackhi_epi16(a, b); }

// MARK: Transforms

typedef __m256i sixteens;
enum { sixteens_count = 16 };
PFI_INLINE sixteens load_wide(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}
PFI_INLINE void store_sixteens(int16_t *p, sixteens v) { _mm256_storeu_si256((__m256i *)(void *)p, v); }
PFI_INLINE sixteens plus(sixteens a, sixteens b) { return _mm256_add_epi16(a, b); }
PFI_INLINE sixteens minus(sixteens a, sixteens b) { return _mm256_sub_epi16(a, b); }
PFI_INLINE words subtract_words(words a, words b) { return _mm512_sub_epi32(a, b); }
PFI_INLINE words exact_576th(words v) { return _mm512_srai_epi32(_mm512_mullo_epi32(v, _mm512_set1_epi32(14913081)), 6); }
