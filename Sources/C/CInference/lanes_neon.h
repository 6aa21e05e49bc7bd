#pragma once
// Four numbers in a vector: AArch64.
#include "inference.h"

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define PFI_LANES 4
#define PFI_INLINE static inline __attribute__((always_inline))

typedef float32x4_t singles;
typedef int32x4_t words;

PFI_INLINE singles load_singles(const float *p) { return vld1q_f32(p); }
PFI_INLINE void store_singles(float *p, singles v) { vst1q_f32(p, v); }
PFI_INLINE words load_words(const int32_t *p) { return vld1q_s32(p); }
PFI_INLINE void store_words(int32_t *p, words v) { vst1q_s32(p, v); }
PFI_INLINE singles load_some(const float *p, size_t count) {
    float whole[4] = {0};
    memcpy(whole, p, count * sizeof *p);
    return vld1q_f32(whole);
}
PFI_INLINE void store_some(float *p, singles v, size_t count) {
    float whole[4];
    vst1q_f32(whole, v);
    memcpy(p, whole, count * sizeof *p);
}
PFI_INLINE void store_some_words(int32_t *p, words v, size_t count) {
    int32_t whole[4];
    vst1q_s32(whole, v);
    memcpy(p, whole, count * sizeof *p);
}
/// Number `index` of each group of channels for all of the group, where `x` is at channel `c`.
typedef struct {
    size_t group, index;
} spreading;
PFI_INLINE spreading spreading_of(size_t group, size_t index) { return (spreading){group, index}; }
PFI_INLINE singles load_spread(const float *x, size_t c, size_t count, spreading s) {
    if (count == 0) return vdupq_n_f32(0);
    if (s.group > 2) return vdupq_n_f32(*(x - c % s.group + s.index));
    singles v = count < 4 ? load_some(x, count) : load_singles(x);
    if (s.group == 1) return v;
    return s.index ? vtrn2q_f32(v, v) : vtrn1q_f32(v, v);
}
PFI_INLINE singles all_singles(float x) { return vdupq_n_f32(x); }
PFI_INLINE singles no_singles(void) { return vdupq_n_f32(0); }
PFI_INLINE words no_words(void) { return vdupq_n_s32(0); }
PFI_INLINE singles to_singles(words v) { return vcvtq_f32_s32(v); }
PFI_INLINE singles add_singles(singles a, singles b) { return vaddq_f32(a, b); }
PFI_INLINE singles times(singles a, singles b) { return vmulq_f32(a, b); }
PFI_INLINE singles fused(singles a, singles b, singles c) { return vfmaq_f32(c, a, b); }
/// Not FMAX and FMIN, which give NaN where one is none.
PFI_INLINE singles greater(singles a, singles b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
PFI_INLINE singles lesser(singles a, singles b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
PFI_INLINE singles rectified(singles y, singles slope) { return vbslq_f32(vcgtzq_f32(y), y, vmulq_f32(y, slope)); }

// MARK: Codes

typedef struct {
    float32x4_t scale, low, high;
    int32x4_t zero;
} coding;
PFI_INLINE coding coding_of(const pfi_sink *s) {
    return (coding){vdupq_n_f32(s->scale), vdupq_n_f32(s->low), vdupq_n_f32(s->high), vdupq_n_s32(s->zero)};
}
PFI_INLINE words coded(singles v, const coding *c) {
    return vaddq_s32(vcvtnq_s32_f32(lesser(greater(vmulq_f32(v, c->scale), c->low), c->high)), c->zero);
}
PFI_INLINE void store_some_coded(uint8_t *p, words v, size_t count, const coding *c) {
    (void)c;
    uint16x4_t sixteens = vmovn_u32(vreinterpretq_u32_s32(v));
    uint8_t codes[8];
    vst1_u8(codes, vmovn_u16(vcombine_u16(sixteens, sixteens)));
    memcpy(p, codes, count);
}
PFI_INLINE void store_coded(uint8_t *p, const words *v, const int vectors, const coding *c) {
    for (int i = 0; i < vectors; i++) store_some_coded(p + 4 * i, v[i], 4, c);
}

// MARK: Transforms

typedef int16x8_t sixteens;
enum { sixteens_count = 8 };
PFI_INLINE sixteens load_wide(const uint8_t *p) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p))); }
PFI_INLINE void store_sixteens(int16_t *p, sixteens v) { vst1q_s16(p, v); }
PFI_INLINE sixteens plus(sixteens a, sixteens b) { return vaddq_s16(a, b); }
PFI_INLINE sixteens minus(sixteens a, sixteens b) { return vsubq_s16(a, b); }
PFI_INLINE words add_words(words a, words b) { return vaddq_s32(a, b); }
PFI_INLINE words subtract_words(words a, words b) { return vsubq_s32(a, b); }
PFI_INLINE words exact_576th(words v) { return vshrq_n_s32(vmulq_n_s32(v, 14913081), 6); }
