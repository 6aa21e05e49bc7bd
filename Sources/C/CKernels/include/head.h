#pragma once
// Kernels of the sampled margin-softmax head. Pointers need only the alignment of their element. Every result is the same
// bits on every CPU: elementwise loops, and reductions over a fixed number of lanes combined in a fixed order.
#include <stddef.h>
#include <stdint.h>

// MARK: sampling, initial rows, hashing

/// Writes the first `count` <= `size` values of the pseudo-random permutation of 0..<size that `key` selects.
/// Returns how often the underlying bijection was evaluated.
uint64_t pfc_head_permute(uint64_t key, uint64_t size, uint64_t count, uint64_t *values);

/// Fills `row` with normal numbers of mean 0 and deviation `deviation`, a function of `key`.
void pfc_head_normal_row(uint64_t key, float deviation, ptrdiff_t size, float *row);

/// XXH64 of `byte_count` bytes.
uint64_t pfc_head_hash(const void *bytes, size_t byte_count, uint64_t seed);

// MARK: rows

/// Index of the first of `count` numbers that is infinite or NaN, or -1.
ptrdiff_t pfc_head_first_nonfinite(const float *values, ptrdiff_t count);

/// inverse[i] = 1 / |row i|, 0 for a row of (almost) no length.
void pfc_head_inverse_norms(const float *rows, ptrdiff_t count, ptrdiff_t size, float *inverse);

/// normalized[i] = row i / |row i|, zeros for a row of (almost) no length.
void pfc_head_normalize(const float *rows, ptrdiff_t count, ptrdiff_t size, float *normalized);

/// sum[i] += addend[i].
void pfc_head_add(float *sum, const float *addend, ptrdiff_t count);

/// gradient = scale_over_batch / |w| * (h - <h, w/|w|> w/|w|) for each row.
void pfc_head_row_gradient(
    const float *rows, const float *h, double scale_over_batch, ptrdiff_t count, ptrdiff_t size, float *gradient);

// MARK: softmax

/// Scale, margins and filter of the logits.
typedef struct {
    double scale, m1, m2, m3;
    /// Interclass filter; +infinity when it is off.
    float filter;
} pfc_head_margin;

/// The margin function at cosine `cosine`: t = cos(m1 * acos(cosine) + m2) - m3, and its derivative by the cosine.
void pfc_head_margin_at(const pfc_head_margin *margin, double cosine, double *value, double *derivative);

/// Target logit, derivative of the margin function, and cosine of feature `x` and its class center `w`.
void pfc_head_target(
    const pfc_head_margin *margin, const float *x, const float *w, ptrdiff_t size, float *logit, float *derivative);

/// numerator = derivative * w / |w|.
void pfc_head_target_numerator(const float *w, float derivative, ptrdiff_t size, float *numerator);

/// Adds a tile of rows to the partial softmax of `samples` samples.
///
/// `products` [samples, rows] holds <x/|x|, w> and becomes exp(z - maximum) / |w|, 0 for targets and filtered classes:
/// what the rows are multiplied with to give the numerator. `maximum`, `sum` and `numerator` [samples, size] are brought
/// up to date with the new maximum. `targets` is the column of a sample's label, or -1. `scratch` has `rows` elements.
void pfc_head_softmax_tile(
    const pfc_head_margin *margin, ptrdiff_t samples, ptrdiff_t rows, ptrdiff_t size, float *products,
    const float *inverse_norms, const int32_t *targets, float *scratch, float *maximum, float *sum, float *numerator);

/// Turns `products` [samples, rows] into the coefficients of the row gradient: exp(z - normalizer) for an ordinary class, 0 for a
/// filtered one, -(1 - exp(target logit - log_z)) * derivative for the target. The normalizer is log_z less the logarithm of the
/// sample's weight, +infinity for a weight of 0.
void pfc_head_coefficients(
    const pfc_head_margin *margin, ptrdiff_t samples, ptrdiff_t rows, float *products, const float *inverse_norms,
    const int32_t *targets, const double *normalizers, const double *log_z, const float *target_logits,
    const float *target_derivatives);

/// Merges two partial softmaxes of `samples` samples; the result may be written over the first.
void pfc_head_merge(
    ptrdiff_t samples, ptrdiff_t size, const float *maximum_a, const float *sum_a, const float *numerator_a,
    const float *maximum_b, const float *sum_b, const float *numerator_b, float *maximum, float *sum, float *numerator);

/// Finishes `samples` samples: loss, log Z, and the gradient by the (not normalised) features.
void pfc_head_finish(
    ptrdiff_t samples, ptrdiff_t size, double scale_over_batch, const float *features, const float *maximum,
    const float *sum, const float *numerator, const float *target_logits, const float *target_numerators, double *loss,
    double *log_z, float *gradient);
