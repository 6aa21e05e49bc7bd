// Products of rows of signed bytes with a panel of 64 rows, in 32-bit integers: exact, so the same with every set of instructions.
#include <string.h>

#include "rows_in_bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

int pfc_byte_instructions_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni")) return pfc_bytes_vnni;
    if (__builtin_cpu_supports("avx2")) return pfc_bytes_avx2;
#endif
    return pfc_bytes_portable;
}

/// A panel holds, for every group of numbers of all rows, 64 times that group: bytes in fours for VNNI, 16-bit numbers in pairs for AVX2,
/// and single 16-bit numbers in portable C. Numbers that are missing in the last group are 0.
size_t pfc_panel_byte_count(ptrdiff_t size) { return (size_t)((size + 3) / 4 * 4) * 2 * pfc_panel_rows; }

static void pack_pairs(const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int16_t *panel, ptrdiff_t group) {
    memset(panel, 0, pfc_panel_byte_count(size));
    for (ptrdiff_t row = 0; row < count; row++)
        for (ptrdiff_t k = 0; k < size; k++)
            panel[(k / group * pfc_panel_rows + row) * group + k % group] = codes[row * size + k];
}

void pfc_panel_pack(const int8_t *codes, ptrdiff_t count, ptrdiff_t size, void *panel, int instructions) {
    if (instructions != pfc_bytes_vnni)
        return pack_pairs(codes, count, size, panel, instructions == pfc_bytes_avx2 ? 2 : 1);
    // VNNI multiplies unsigned with signed bytes: the panel's have 128 added. A missing number is 128 too, and meets a 0.
    uint8_t *bytes = panel;
    memset(bytes, 128, pfc_panel_byte_count(size));
    for (ptrdiff_t row = 0; row < count; row++)
        for (ptrdiff_t k = 0; k < size; k++)
            bytes[(k / 4 * pfc_panel_rows + row) * 4 + k % 4] = (uint8_t)(codes[row * size + k] + 128);
}

static void products_portable(
    const int16_t *panel, const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int32_t *restrict products) {
    for (ptrdiff_t i = 0; i < count; i++, codes += size, products += pfc_panel_rows) {
        int32_t sums[pfc_panel_rows] = {0};
        for (ptrdiff_t k = 0; k < size; k++)
            for (int j = 0; j < pfc_panel_rows; j++) sums[j] += panel[k * pfc_panel_rows + j] * codes[k];
        memcpy(products, sums, sizeof sums);
    }
}

#if defined(__x86_64__)
/// A group of numbers of a row as one 32-bit number; those past its end are 0.
static inline int32_t four_bytes(const int8_t *codes, ptrdiff_t left) {
    int32_t four = 0;
    memcpy(&four, codes, (size_t)smaller(left, 4));
    return four;
}

static inline int32_t pair(const int8_t *codes, ptrdiff_t left) {
    int16_t numbers[2] = {codes[0], left > 1 ? codes[1] : 0};
    int32_t two;
    memcpy(&two, numbers, 4);
    return two;
}

/// `rows` rows with 32 of the panel's at a time. At the end the last row stands for those that are missing.
static inline __attribute__((always_inline, target("avx512f,avx512vnni"))) void rows_vnni(
    const uint8_t *panel, const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int32_t *products, const int rows) {
    const ptrdiff_t whole = size / 4 * 4;
    const int8_t *x[6];
    __m512i minus[6];
    for (int r = 0; r < rows; r++) {
        x[r] = codes + smaller(r, count - 1) * size;
        // What the 128 of the panel's bytes add.
        __m512i sum = _mm512_setzero_si512();
        ptrdiff_t k = 0;
        for (; k + 64 <= size; k += 64)
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), _mm512_loadu_si512(x[r] + k));
        int32_t rest = _mm512_reduce_add_epi32(sum);
        for (; k < size; k++) rest += x[r][k];
        minus[r] = _mm512_set1_epi32(-128 * rest);
    }
    for (int half = 0; half < pfc_panel_rows; half += 32) {
        __m512i sums[6][2];
        for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = minus[r];
        const uint8_t *y = panel + half * 4;
        for (ptrdiff_t k = 0; k < size; k += 4, y += 4 * pfc_panel_rows) {
            const __m512i first = _mm512_loadu_si512(y), second = _mm512_loadu_si512(y + 64);
            for (int r = 0; r < rows; r++) {
                int32_t four;
                if (k < whole) {
                    memcpy(&four, x[r] + k, 4);
                } else {
                    four = four_bytes(x[r] + k, size - k);
                }
                const __m512i x4 = _mm512_set1_epi32(four);
                sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], first, x4);
                sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], second, x4);
            }
        }
        for (int r = 0; r < rows && r < count; r++)
            for (int c = 0; c < 2; c++)
                _mm512_storeu_si512(products + r * pfc_panel_rows + half + c * 16, sums[r][c]);
    }
}

static __attribute__((target("avx512f,avx512vnni"))) void products_vnni(
    const uint8_t *panel, const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int32_t *products) {
    for (ptrdiff_t i = 0; i < count; i += 6)
        rows_vnni(panel, codes + i * size, count - i, size, products + i * pfc_panel_rows, 6);
}

static inline __attribute__((always_inline, target("avx2"))) void rows_avx2(
    const int16_t *panel, const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int32_t *products, const int rows) {
    const int8_t *x[4];
    for (int r = 0; r < rows; r++) x[r] = codes + smaller(r, count - 1) * size;
    for (int part = 0; part < pfc_panel_rows; part += 16) {
        __m256i sums[4][2];
        for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
        const int16_t *y = panel + part * 2;
        for (ptrdiff_t k = 0; k < size; k += 2, y += 2 * pfc_panel_rows) {
            const __m256i first = _mm256_loadu_si256((const __m256i *)(const void *)y);
            const __m256i second = _mm256_loadu_si256((const __m256i *)(const void *)(y + 16));
            for (int r = 0; r < rows; r++) {
                const __m256i x2 = _mm256_set1_epi32(pair(x[r] + k, size - k));
                sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(first, x2));
                sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(second, x2));
            }
        }
        for (int r = 0; r < rows && r < count; r++)
            for (int c = 0; c < 2; c++)
                _mm256_storeu_si256(
                    (__m256i *)(void *)(products + r * pfc_panel_rows + part + c * 8), sums[r][c]);
    }
}

static __attribute__((target("avx2"))) void products_avx2(
    const int16_t *panel, const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int32_t *products) {
    for (ptrdiff_t i = 0; i < count; i += 4)
        rows_avx2(panel, codes + i * size, count - i, size, products + i * pfc_panel_rows, 4);
}
#endif

void pfc_panel_products(
    const void *panel, const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int32_t *products, int instructions) {
#if defined(__x86_64__)
    if (instructions == pfc_bytes_vnni) return products_vnni(panel, codes, count, size, products);
    if (instructions == pfc_bytes_avx2) return products_avx2(panel, codes, count, size, products);
#endif
    products_portable(panel, codes, count, size, products);
}
