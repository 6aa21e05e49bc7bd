#pragma once
// The softmax head in single precision by fused multiply-adds.
//
// One definition of the arithmetic, compiled for several instruction sets: every element of a product is one chain of fused
// multiply-adds in the order of what is summed, from zero. So the bits depend neither on the instruction set nor on how the
// elements are blocked. The caller has set the mode that flushes denormals.
//
// Samples lie in *lanes*: a micro-batch is padded to a multiple of 16 with zeros. Rows are divided by their length and packed in
// *panels* of 12 dimensions, [(D + 11) / 12][rows][12], rows padded with zeros to a multiple of 12: what a kernel multiplies with
// one number at a time lies together, for both products of the forward pass.
#include <stddef.h>
#include <stdint.h>

#include "head.h"

enum { pfc_fma_lanes = 16, pfc_fma_panel = 12 };

/// What the kernels run on here: "avx512f", "avx2" or "portable". As those of bf16.h they are pinned by PARTIALFC_BF16_KERNELS.
const char *pfc_fma_instruction_set(void);

// MARK: operands

/// Directions f32 [samples, size] by dimension: [lanes / 16][size][16].
void pfc_fma_pack_dimensions(
    const float *normalized, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t size, float *packed);

/// Directions f32 [samples, size] in panels of 16 dimensions: [(size + 15) / 16][samples][16].
void pfc_fma_pack_samples(const float *normalized, ptrdiff_t samples, ptrdiff_t size, float *packed);

/// w/|w| of rows f32 [row_count, size] in panels; `padded` is `row_count` rounded up to a multiple of 12.
void pfc_fma_pack_rows(
    const float *rows, const float *inverse_norms, ptrdiff_t row_count, ptrdiff_t padded, ptrdiff_t size,
    float *packed);

/// The same of rows bf16 [row_count, size].
void pfc_fma_pack_rows_bf16(
    const uint16_t *rows, const float *inverse_norms, ptrdiff_t row_count, ptrdiff_t padded, ptrdiff_t size,
    float *packed);

/// Memory that is needed soon: kernels ask for it line by line while they compute.
typedef struct {
    const void *start;
    ptrdiff_t byte_count;
} pfc_piece;

/// `count` pieces; `next` and `offset` say how far they have been asked for.
typedef struct {
    const pfc_piece *pieces;
    ptrdiff_t count, next, offset;
} pfc_ahead;

// MARK: products

/// cosines [padded, lanes] = <x/|x|, w/|w|> for directions by dimension and packed rows.
void pfc_fma_cosines(
    const float *directions, ptrdiff_t lanes, const float *rows, ptrdiff_t padded, ptrdiff_t size, float *cosines);

/// numerator = kept · numerator + added · Σ over rows of e · w/|w|, by dimension: [lanes / 16][(size + 11) / 12 * 12][16], for `e`
/// [rows, lanes] and packed rows. `kept` and `added` are of each lane. `ahead` may be null.
void pfc_fma_numerator(
    const float *e, ptrdiff_t lanes, const float *rows, ptrdiff_t row_count, ptrdiff_t padded, ptrdiff_t size,
    const float *kept, const float *added, pfc_ahead *ahead, float *numerator);

/// The numerator of samples [samples, size] from one by dimension.
void pfc_fma_unpack(const float *numerator, ptrdiff_t samples, ptrdiff_t size, float *unpacked);

/// One micro-batch of a row gradient.
typedef struct {
    /// Coefficients [padded, lanes] of the row gradient.
    const float *coefficients;
    /// Directions in panels (`pfc_fma_pack_samples`).
    const float *directions;
} pfc_fma_leaf;

/// gradient [padded, size] = Σ over samples of coefficient · x/|x|; micro-batches of `samples` are summed along the tree over
/// `leaves`. `padded` is a multiple of 12. `ahead` may be null.
void pfc_fma_row_gradient(
    const pfc_fma_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t padded,
    ptrdiff_t size, pfc_ahead *ahead, float *gradient);

// MARK: softmax

/// The partial softmax of a tile of rows by itself: `maximum` m of the logits and `sum` Σ exp(z - m), each [lanes], and `e`
/// [rows, lanes] = exp(z - m), 0 for what is filtered. `targets` is the row of each lane's label among these, or -1: it is left
/// out. `cosines` [rows, lanes] are clamped to [-1, 1], and marked where left out.
void pfc_fma_softmax_tile(
    const pfc_head_margin *margin, float *cosines, const int32_t *targets, ptrdiff_t lanes, ptrdiff_t rows,
    float *maximum, float *sum, float *e);

/// Adds the maximum and the sum of a tile to those of the tiles before it; `kept` and `added` are what the numerators of both
/// count.
void pfc_fma_add_tile(
    ptrdiff_t lanes, const float *tile_maximum, const float *tile_sum, float *maximum, float *sum, float *kept,
    float *added);

/// Coefficients [padded, lanes] of the row gradient from clamped `cosines` [rows, lanes]: p = exp(z - log_z) for an ordinary
/// class, 0 for a filtered one, -(1 - p) * derivative for the target, 0 for rows and lanes that are padding. Ordinary classes have
/// `normalizers` for log_z: see `pfc_head_coefficients`.
void pfc_fma_coefficients(
    const pfc_head_margin *margin, const float *cosines, const int32_t *targets, const double *normalizers, const double *log_z,
    const float *target_logits, const float *target_derivatives, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t rows,
    ptrdiff_t padded, float *coefficients);
