#pragma once
// Eight numbers in a vector: AVX2 and FMA. Included where that target is set.
#include "inference.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define PFI_LANES 8
#define PFI_INLINE static inline __attribute__((always_inline))

typedef __m256 singles;
typedef __m256i words;
typedef __m256i bytes;

PFI_INLINE singles load_singles(const float *p) { return _mm256_loadu_ps(p); }
PFI_INLINE void store_singles(float *p, singles v) { _mm256_storeu_ps(p, v); }
PFI_INLINE words load_words(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
PFI_INLINE void store_words(int32_t *p, words v) { _mm256_storeu_si256((__m256i *)(void *)p, v); }
PFI_INLINE words first_lanes(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
PFI_INLINE singles load_some(const float *p, size_t count) { return _mm256_maskload_ps(p, first_lanes(count)); }
PFI_INLINE void store_some(float *p, singles v, size_t count) { _mm256_maskstore_ps(p, first_lanes(count), v); }
PFI_INLINE void store_some_words(int32_t *p, words v, size_t count) {
    _mm256_maskstore_epi32(p, first_lanes(count), v);
}
/// Number `index` of each group of channels for all of the group, where `x` is at channel `c`.
typedef __m256i spreading;
PFI_INLINE spreading spreading_of(size_t group, size_t index) {
    __m256i first = _mm256_andnot_si256(_mm256_set1_epi32((int)group - 1), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_add_epi32(first, _mm256_set1_epi32((int)index));
}
PFI_INLINE singles load_spread(const float *x, size_t c, size_t count, spreading s) {
    (void)c;
    return _mm256_permutevar8x32_ps(count < PFI_LANES ? load_some(x, count) : load_singles(x), s);
}
PFI_INLINE singles all_singles(float x) { return _mm256_set1_ps(x); }
PFI_INLINE singles no_singles(void) { return _mm256_setzero_ps(); }
PFI_INLINE words no_words(void) { return _mm256_setzero_si256(); }
PFI_INLINE singles to_singles(words v) { return _mm256_cvtepi32_ps(v); }
PFI_INLINE words add_words(words a, words b) { return _mm256_add_epi32(a, b); }
PFI_INLINE singles add_singles(singles a, singles b) { return _mm256_add_ps(a, b); }
PFI_INLINE singles times(singles a, singles b) { return _mm256_mul_ps(a, b); }
PFI_INLINE singles fused(singles a, singles b, singles c) { return _mm256_fmadd_ps(a, b, c); }
PFI_INLINE singles greater(singles a, singles b) { return _mm256_max_ps(a, b); }
PFI_INLINE singles lesser(singles a, singles b) { return _mm256_min_ps(a, b); }
PFI_INLINE singles rectified(singles y, singles slope) {
    return _mm256_blendv_ps(_mm256_mul_ps(y, slope), y, _mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GT_OQ));
}

// MARK: Codes

typedef struct {
    __m256 scale, high;
    __m256i low, zero;  // 16 bits
} coding;
PFI_INLINE coding coding_of(const pfi_sink *s) {
    return (coding){
        _mm256_set1_ps(s->scale), _mm256_set1_ps(s->high), _mm256_set1_epi16((int16_t)s->low),
        _mm256_set1_epi16((int16_t)s->zero)};
}
/// What is too small, and NaN, becomes the least number, which stays below `low` in 16 bits.
PFI_INLINE words coded(singles v, const coding *c) {
    return _mm256_cvtps_epi32(_mm256_min_ps(c->high, _mm256_mul_ps(v, c->scale)));
}
PFI_INLINE __m256i sixteens_of(words a, words b, const coding *c) {
    return _mm256_add_epi16(_mm256_max_epi16(_mm256_packs_epi32(a, b), c->low), c->zero);
}
/// Of two vectors in the order of memory.
PFI_INLINE __m128i codes_of(words a, words b, const coding *c) {
    __m256i sixteens = sixteens_of(a, b, c);
    __m128i codes = _mm_packus_epi16(_mm256_castsi256_si128(sixteens), _mm256_extracti128_si256(sixteens, 1));
    return _mm_shuffle_epi32(codes, _MM_SHUFFLE(3, 1, 2, 0));
}
PFI_INLINE void store_coded(uint8_t *p, const words *v, const int vectors, const coding *c) {
    for (int i = 0; i + 2 <= vectors; i += 2)
        _mm_storeu_si128((__m128i *)(void *)(p + i * 8), codes_of(v[i], v[i + 1], c));
    if (vectors % 2)
        _mm_storel_epi64((__m128i *)(void *)(p + (vectors - 1) * 8), codes_of(v[vectors - 1], v[vectors - 1], c));
}
PFI_INLINE void store_some_coded(uint8_t *p, words v, size_t count, const coding *c) {
    uint64_t codes = (uint64_t)_mm_cvtsi128_si64(codes_of(v, v, c));
    memcpy(p, &codes, count);
}
/// Four vectors in the order of two rounds of unpacking: as bytes in the order of memory.
PFI_INLINE void store_unpacked_coded(uint8_t *p, const words *v, const coding *c) {
    __m256i codes = _mm256_packus_epi16(sixteens_of(v[0], v[1], c), sixteens_of(v[2], v[3], c));
    _mm256_storeu_si256((__m256i *)(void *)p, codes);
}

// MARK: Bytes and 16-bit numbers

PFI_INLINE bytes load_bytes(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
PFI_INLINE bytes load_some_bytes(const void *p, size_t count) {
    unsigned char whole[32] __attribute__((aligned(32))) = {0};
    memcpy(whole, p, count);
    return load_bytes(whole);
}
PFI_INLINE bytes all_fours(const void *p) {
    int32_t x;
    memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
}
/// Number `index` of each group of bytes for all of the group.
PFI_INLINE bytes byte_spreading(size_t group, size_t index) {
    __m128i counted = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i first = _mm_andnot_si128(_mm_set1_epi8((char)(group - 1)), counted);
    return _mm256_broadcastsi128_si256(_mm_add_epi8(first, _mm_set1_epi8((char)index)));
}
PFI_INLINE bytes spread_bytes(bytes v, bytes spreading) { return _mm256_shuffle_epi8(v, spreading); }
PFI_INLINE bytes no_bytes(void) { return _mm256_setzero_si256(); }
PFI_INLINE bytes all_sixteens(int16_t x) { return _mm256_set1_epi16(x); }
PFI_INLINE bytes add_sixteens(bytes a, bytes b) { return _mm256_add_epi16(a, b); }
/// Sums of two products: of unsigned and signed bytes in 16 bits, of 16-bit numbers in 32.
PFI_INLINE bytes byte_products(bytes u, bytes s) { return _mm256_maddubs_epi16(u, s); }
PFI_INLINE words pair_products(bytes a, bytes b) { return _mm256_madd_epi16(a, b); }
PFI_INLINE bytes low_bytes(bytes a, bytes b) { return _mm256_unpacklo_epi8(a, b); }
PFI_INLINE bytes high_bytes(bytes a, bytes b) { return _mm256_unpackhi_epi8(a, b); }
PFI_INLINE bytes low_pairs(bytes a, bytes b) { return _mm256_unpacklo_epi16(a, b); }
PFI_INLINE bytes high_pairs(bytes a, bytes b) { return _mm256_unpackhi_epi16(a, b); }

// MARK: Transforms

typedef __m256i sixteens;
enum { sixteens_count = 16 };
PFI_INLINE sixteens load_wide(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}
PFI_INLINE void store_sixteens(int16_t *p, sixteens v) { _mm256_storeu_si256((__m256i *)(void *)p, v); }
PFI_INLINE sixteens plus(sixteens a, sixteens b) { return _mm256_add_epi16(a, b); }
PFI_INLINE sixteens minus(sixteens a, sixteens b) { return _mm256_sub_epi16(a, b); }
PFI_INLINE words subtract_words(words a, words b) { return _mm256_sub_epi32(a, b); }
PFI_INLINE words exact_576th(words v) { return _mm256_srai_epi32(_mm256_mullo_epi32(v, _mm256_set1_epi32(14913081)), 6); }
