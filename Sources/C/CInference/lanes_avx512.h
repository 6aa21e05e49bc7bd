#pragma once
// Sixteen numbers in a vector: AVX-512 F, BW, DQ, VL. Included where that target is set.
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
PFI_INLINE singles all_singles(float x) { return _mm512_set1_ps(x); }
PFI_INLINE words all_words(int32_t x) { return _mm512_set1_epi32(x); }
PFI_INLINE singles no_singles(void) { return _mm512_setzero_ps(); }
PFI_INLINE words no_words(void) { return _mm512_setzero_si512(); }
PFI_INLINE singles to_singles(words v) { return _mm512_cvtepi32_ps(v); }
PFI_INLINE words rounded(singles v) { return _mm512_cvtps_epi32(v); }
PFI_INLINE words add_words(words a, words b) { return _mm512_add_epi32(a, b); }
PFI_INLINE singles add_singles(singles a, singles b) { return _mm512_add_ps(a, b); }
PFI_INLINE singles times(singles a, singles b) { return _mm512_mul_ps(a, b); }
PFI_INLINE singles fused(singles a, singles b, singles c) { return _mm512_fmadd_ps(a, b, c); }
PFI_INLINE singles greater(singles a, singles b) { return _mm512_max_ps(a, b); }
PFI_INLINE singles lesser(singles a, singles b) { return _mm512_min_ps(a, b); }
PFI_INLINE singles if_positive(singles condition, singles a, singles b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(condition, _mm512_setzero_ps(), _CMP_GT_OQ), b, a);
}
PFI_INLINE __m512i four_codes(const words *v) {
    return _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
}
PFI_INLINE void store_codes(uint8_t *p, const words *v, const int vectors) {
    if (vectors == 4) {
        const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, four_codes(v)));
        return;
    }
    for (int i = 0; i < vectors; i++)
        _mm_storeu_si128((__m128i *)(void *)(p + i * 16), _mm512_cvtepi32_epi8(v[i]));
}
PFI_INLINE void store_some_codes(uint8_t *p, words v, size_t count) {
    _mm512_mask_cvtepi32_storeu_epi8(p, first_lanes(count), v);
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
/// Four vectors in the order of two rounds of unpacking: as bytes in the order of memory.
PFI_INLINE void store_unpacked_codes(uint8_t *p, const words *v) { _mm512_storeu_si512(p, four_codes(v)); }
