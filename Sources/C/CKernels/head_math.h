#pragma once
// Elementary functions of the softmax head, written out instead of taken from libm: libm chooses its code by CPU, so its
// last bit may differ between machines. Only +, -, *, / and sqrt are used, which IEEE 754 fixes, and the file is compiled
// without contraction. All are branch-free where a loop over them has to vectorise.
#include <math.h>
#include <stdint.h>
#include <string.h>

#define PFC_INLINE static inline __attribute__((always_inline))

// Which of the clones runs is decided by the CPU. To measure on a better one what a CPU without AVX-512 does, compile with
// PFC_WITHOUT_AVX512.
#if defined(__x86_64__) && defined(PFC_WITHOUT_AVX512)
#define PFC_CLONES __attribute__((target_clones("avx2", "default")))
#elif defined(__x86_64__)
#define PFC_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PFC_CLONES
#endif

PFC_INLINE float pfc_float_of_bits(int32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

PFC_INLINE int32_t pfc_bits_of_float(float value) {
    int32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

PFC_INLINE double pfc_double_of_bits(int64_t bits) {
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

PFC_INLINE int64_t pfc_bits_of_double(double value) {
    int64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

/// exp(x) in single precision, saturated above 88; 0 below -87, where it would leave the normal range. exp(0) is 1.
PFC_INLINE float pfc_expf(float x) {
    const float magic = 0x1.8p23f;
    float clamped = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float shifted = clamped * 1.44269504f + magic;
    float n = shifted - magic;
    float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t exponent = pfc_bits_of_float(shifted) - pfc_bits_of_float(magic);
    float scale = pfc_float_of_bits((exponent + 127) << 23);
    return x < -87.0f ? 0.0f : p * scale;
}

/// The Taylor series of (exp(r) - 1) / r for |r| <= 0.35, to double precision.
PFC_INLINE double pfc_expm1_series(double r) {
    double p = 1.0 / 87178291200.0;
    p = p * r + 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return p * r + 1.0;
}

/// exp(x) in double precision; 0 below -708 and saturated above 708.
PFC_INLINE double pfc_exp(double x) {
    const double magic = 0x1.8p52;
    double clamped = x < -708.0 ? -708.0 : (x > 708.0 ? 708.0 : x);
    double shifted = clamped * 0x1.71547652b82fep0 + magic;
    double n = shifted - magic;
    double r = (clamped - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double p = pfc_expm1_series(r) * r + 1.0;
    int64_t exponent = pfc_bits_of_double(shifted) - pfc_bits_of_double(magic);
    double scale = pfc_double_of_bits((exponent + 1023) << 52);
    return x < -708.0 ? 0.0 : p * scale;
}

/// exp(x) - 1 without cancellation.
PFC_INLINE double pfc_expm1(double x) {
    if (x > -0.34 && x < 0.34) return pfc_expm1_series(x) * x;
    return pfc_exp(x) - 1.0;
}

/// 2 atanh(s) for |s| <= 0.18: the series that both logarithms rest on.
PFC_INLINE double pfc_log_series(double s) {
    double z = s * s;
    double p = 1.0 / 23.0;
    p = p * z + 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return 2.0 * (s + s * z * p);
}

/// log(x) in double precision for normal x > 0.
PFC_INLINE double pfc_log(double x) {
    const int64_t half_root = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
    int64_t bits = pfc_bits_of_double(x);
    // The exponent that puts the fraction into [sqrt(1/2), sqrt(2)), found without an arithmetic shift of 64 bits,
    // which AVX2 has not.
    int64_t biased = (int64_t)((uint64_t)(bits - half_root + (1023LL << 52)) >> 52);
    double fraction = pfc_double_of_bits(bits - ((biased - 1023) << 52));
    // biased is in 0..2046: exact through the low bits of a large double, since AVX2 cannot convert 64-bit integers.
    double k = pfc_double_of_bits(0x4330000000000000LL + biased) - (0x1p52 + 1023.0);
    double f = fraction - 1.0;
    return k * 0x1.62e42feep-1 + (pfc_log_series(f / (2.0 + f)) + k * 0x1.a39ef35793c76p-33);
}

/// log(1 + x) without cancellation, x >= 0.
PFC_INLINE double pfc_log1p(double x) {
    if (x < 0.4) return pfc_log_series(x / (2.0 + x));
    return pfc_log(1.0 + x);
}

/// sin(r) for |r| <= pi/4.
PFC_INLINE double pfc_sin_series(double r) {
    double z = r * r;
    double p = 1.0 / 355687428096000.0;
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return r + r * z * p;
}

/// cos(r) for |r| <= pi/4.
PFC_INLINE double pfc_cos_series(double r) {
    double z = r * r;
    double p = 1.0 / 20922789888000.0;
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    return 1.0 + (z * z * p - 0.5 * z);
}

/// sin and cos of `quarter` right angles plus `r`, |r| <= pi/4.
PFC_INLINE void pfc_rotate(int64_t quarter, double r, double *sine, double *cosine) {
    double s = pfc_sin_series(r), c = pfc_cos_series(r);
    double a = (quarter & 1) ? c : s, b = (quarter & 1) ? s : c;
    *sine = (quarter & 2) ? -a : a;
    *cosine = ((quarter + 1) & 2) ? -b : b;
}

/// sin and cos of x, |x| < 1e5, in double precision.
PFC_INLINE void pfc_sincos(double x, double *sine, double *cosine) {
    const double magic = 0x1.8p52;
    double shifted = x * 0x1.45f306dc9c883p-1 + magic;
    double n = shifted - magic;
    double r = (x - n * 0x1.921fb544p0) - n * 0x1.0b4611a626331p-34;
    pfc_rotate(pfc_bits_of_double(shifted) - pfc_bits_of_double(magic), r, sine, cosine);
}

/// The angle whose cosine is `c` and whose sine is `s` >= 0: a rough polynomial (error < 1e-4), corrected once.
PFC_INLINE double pfc_angle(double c, double s) {
    double a = c < 0 ? -c : c;
    double rough = sqrt(1.0 - a) * (1.5707288 + a * (-0.2121144 + a * (0.0742610 + a * -0.0187293)));
    if (c < 0) rough = 0x1.921fb54442d18p1 - rough;
    double sine, cosine;
    pfc_sincos(rough, &sine, &cosine);
    double d = s * cosine - c * sine;  // sin(angle - rough)
    return rough + (d + d * d * d * (1.0 / 6.0));
}
