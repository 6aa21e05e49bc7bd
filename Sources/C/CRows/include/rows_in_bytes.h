#pragma once
// Rows of signed bytes with a scale each, and their products in integers. Every function gives the same bits with every set of instructions.
#include <stddef.h>
#include <stdint.h>

/// Rows of a panel: those that a gallery's rows are multiplied with at a time.
enum { pfc_panel_rows = 64 };

/// The longest row: sums of products stay within 32 bits.
enum { pfc_longest_byte_row = 65536 };

/// What products are made of.
enum pfc_byte_instructions { pfc_bytes_portable, pfc_bytes_avx2, pfc_bytes_vnni };

/// The best that this processor has.
int pfc_byte_instructions_best(void);

/// Encodes `count` rows of `size` numbers: scale = max|x| / 127, code = x / scale to nearest, ties to even. The scale of a row of zeros, and
/// of one whose largest number is below 127 · 2^-100, is 0, as are its codes. Numbers are finite.
void pfc_bytes_encode(const float *rows, ptrdiff_t count, ptrdiff_t size, int8_t *codes, float *scales);

/// The rows back: code · scale.
void pfc_bytes_decode(const int8_t *codes, const float *scales, ptrdiff_t count, ptrdiff_t size, float *rows);

/// 1 / |codes| of each row, 0 for a row of zeros.
void pfc_bytes_inverse_lengths(const int8_t *codes, ptrdiff_t count, ptrdiff_t size, float *inverses);

/// Bytes of a panel, a multiple of 64.
size_t pfc_panel_byte_count(ptrdiff_t size);

/// Lays out up to 64 rows for `pfc_panel_products` with the same instructions. Rows that are missing count as zeros.
void pfc_panel_pack(const int8_t *codes, ptrdiff_t count, ptrdiff_t size, void *panel, int instructions);

/// products [count, 64]: those of rows with the panel's rows.
void pfc_panel_products(
    const void *panel, const int8_t *codes, ptrdiff_t count, ptrdiff_t size, int32_t *products, int instructions);


/// cosines [count, 64] of products [count, 64]: product · (of_rows[i] · of_panel[j]), in f32.
void pfc_panel_cosines(
    const int32_t *products, ptrdiff_t count, const float *of_rows, const float *of_panel, float *cosines);

/// The first row from `first` on with a score above the limit of its column, or `count`. scores is [count, width].
ptrdiff_t pfc_first_row_above(
    const float *scores, ptrdiff_t first, ptrdiff_t count, ptrdiff_t width, const float *limits);
