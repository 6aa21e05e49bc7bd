#pragma once
// The softmax head in bf16: products of bf16 numbers, summed in single precision.
//
// One definition of the arithmetic, compiled for several instruction sets. A pair of products is added to a sum as VDPBF16PS
// does it: the second of the pair first, each by a fused multiply-add, denormals flushed (the caller has set that mode for the
// thread). So all of them, with AVX512-BF16 and without, give the same bits.
//
// Samples lie in *lanes*: a micro-batch is padded to a multiple of 16 with zeros. Sizes D are multiples of 16. Numbers that
// belong to the two members of a pair share a 32-bit word, the first in the low half. What a kernel reads column-wise is cut
// into *panels* of 64 columns that lie one after the other: [D / 64][pairs][64], the last one narrower.
#include <stddef.h>
#include <stdint.h>

#include "head.h"

enum { pfc_bf16_lanes = 16, pfc_bf16_panel = 64 };

/// What the kernels run on here: "avx512bf16", "avx512f", "avx2" or "portable". Chosen once, by the CPU; the environment
/// variable PARTIALFC_BF16_KERNELS pins a lesser one.
const char *pfc_bf16_instruction_set(void);

// MARK: operands

/// Directions of features f32 [samples, size] as pairs of dimensions [size / 2][lanes].
void pfc_bf16_pack_dimensions(
    const float *normalized, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t size, uint32_t *packed);

/// Directions f32 [samples, size] as pairs of samples in panels [size / 64][lanes / 2][64].
void pfc_bf16_pack_samples(
    const float *normalized, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t size, uint32_t *packed);

/// Rows bf16 [rows, size] as pairs of rows in panels [size / 64][(rows + 1) / 2][64]; a missing last row is zero.
void pfc_bf16_pack_rows(const uint16_t *rows, ptrdiff_t row_count, ptrdiff_t size, uint32_t *packed);

// MARK: products

/// products [rows, lanes] = <x, w> for the directions in `features` [size / 2][lanes] and `rows` bf16 [rows, size].
void pfc_bf16_products(
    const uint32_t *features, ptrdiff_t lanes, const uint16_t *rows, ptrdiff_t row_count, ptrdiff_t size,
    float *products);

/// numerator [samples, size] = Σ over rows of coefficient · w, from pairs of rows: `coefficients` [pairs][lanes], `rows`
/// in panels [size / 64][pairs][64].
void pfc_bf16_numerator(
    const uint32_t *coefficients, ptrdiff_t lanes, const uint32_t *rows, ptrdiff_t pairs, ptrdiff_t size,
    ptrdiff_t samples, float *numerator);

/// A sample whose class is among the rows at hand.
typedef struct {
    /// Row of its class.
    int32_t row;
    /// Its coefficient of the row gradient.
    float coefficient;
    /// Its direction f32 [size].
    const float *direction;
} pfc_bf16_target;

/// One micro-batch of a row gradient.
typedef struct {
    /// Probabilities bf16 [rows, lanes] of the other classes than the targets.
    const uint16_t *probabilities;
    /// Directions in panels (`pfc_bf16_pack_samples`).
    const uint32_t *features;
    ptrdiff_t lanes;
    /// Samples whose class is among the rows, in the order of the samples.
    const pfc_bf16_target *targets;
    ptrdiff_t target_count;
} pfc_bf16_leaf;

/// gradient [rows, size] = Σ over samples of probability · x, plus coefficient · x of the targets; micro-batches are summed
/// along the tree over `leaves`.
void pfc_bf16_row_gradient(
    const pfc_bf16_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t row_count, ptrdiff_t size, float *gradient);

// MARK: softmax

/// A cosine in 16 bits: 32767 times it, to the nearest. At a scale of 64 a logit is off by at most 0.001, where a bf16 number
/// would be off by 0.1; and it depends on nothing but its row and its sample.
typedef int16_t pfc_cosine;

/// cosines [rows, lanes] of `products` [rows, lanes] = <x/|x|, w>, clamped to [-1, 1]. `targets` is the row of each lane's label
/// among these, or -1: its cosine is marked as left out.
void pfc_bf16_cosines(
    const float *products, const float *inverse_norms, const int32_t *targets, ptrdiff_t lanes, ptrdiff_t rows,
    pfc_cosine *cosines);

/// The partial softmax of a tile of rows by itself: `maximum` m of the logits and `sum` Σ exp(z - m), each [lanes], without
/// what is left out; `coefficients` exp(z - m) / |w| in pairs of rows [(rows + 1) / 2][lanes], 0 for what is left out or filtered.
void pfc_bf16_softmax_tile(
    const pfc_head_margin *margin, const pfc_cosine *cosines, const float *inverse_norms, ptrdiff_t lanes,
    ptrdiff_t rows, float *maximum, float *sum, uint32_t *coefficients);

/// probabilities bf16 [rows, lanes] = exp(z - log_z), 0 for what is left out or filtered.
void pfc_bf16_probabilities(
    const pfc_head_margin *margin, const pfc_cosine *cosines, const double *log_z, ptrdiff_t samples, ptrdiff_t lanes,
    ptrdiff_t rows, uint16_t *probabilities);

/// The coefficient of the row gradient of a target: -(1 - p) * derivative, p = exp(target_logit - log_z).
float pfc_bf16_target_coefficient(float target_logit, float target_derivative, double log_z);
