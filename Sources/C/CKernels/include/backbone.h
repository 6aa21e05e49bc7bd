#pragma once
#include <stddef.h>
#include <stdint.h>

#include "optimizer.h"

/* Elementwise arithmetic and reductions of the backbone. Tensors of activations are NHWC: `rows` = samples × height × width
   rows of `channels` floats. Sums over rows are taken channel by channel in one fixed order (eight rows to a pair-wise
   sum, 512 rows to a float partial sum, partial sums in double), so that they do not depend on the vector width. */

/// Mean and biased variance of each channel. `work` holds 2 × channels doubles.
void pfc_norm_moments(
    const float *x, size_t rows, size_t channels, float *mean, float *variance, double *work);

/// scale = weight / sqrt(variance + epsilon), shift = bias − mean × scale, inverse = 1 / sqrt(variance + epsilon).
void pfc_norm_coefficients(
    const float *weight, const float *bias, const float *mean, const float *variance, float epsilon, size_t channels,
    float *scale, float *shift, float *inverse);

/// y = prelu(x × scale + shift) + residual; `slope` and `residual` may be null (no PReLU, nothing added).
void pfc_norm_apply(
    const float *x, size_t rows, size_t channels, const float *scale, const float *shift, const float *slope,
    const float *residual, float *y);

/// Sums over rows for the gradient of y = prelu(z), z = x × scale + shift, with d = ∂loss/∂z:
/// sums[0..] = Σ d, sums[channels..] = Σ d (x − mean), sums[2 channels..] = Σ ∂loss/∂y · min(z, 0).
/// `work` holds 3 × channels floats.
void pfc_norm_backward_sums(
    const float *dy, const float *x, size_t rows, size_t channels, const float *mean, const float *scale,
    const float *shift, const float *slope, double *sums, float *work);

/// dx = scale × (d − Σd/rows − (x − mean) inverse² Σd(x − mean)/rows) + other; `slope` and `other` may be null.
/// `work` holds 2 × channels floats.
void pfc_norm_backward_apply(
    const float *dy, const float *x, size_t rows, size_t channels, const float *mean, const float *scale,
    const float *shift, const float *inverse, const float *slope, const double *sums, const float *other, float *dx,
    float *work);

/// NCHW to NHWC.
void pfc_nchw_to_nhwc(const float *source, size_t samples, size_t channels, size_t pixels, float *target);

/// a += b.
void pfc_add(float *a, const float *b, size_t count);

/// out = a + b.
void pfc_sum(float *out, const float *a, const float *b, size_t count);

/// Σ a², in double, over sixteen interleaved partial sums that are added in a fixed order.
double pfc_squared_norm(const float *a, size_t count);

/// Whether every element is finite.
int pfc_all_finite(const float *a, size_t count);

/// One step of SGD with momentum: v' = momentum·v + (clip·g + decay·p), p' = p − rate·v'.
void pfc_sgd(
    const float *p, const float *v, const float *g, size_t count, float clip, float rate, float momentum, float decay,
    float *p_next, float *v_next);

/// One step of AdamW of parameters that have taken part in `age` steps, this one included, with the gradient clip·g.
void pfc_adamw(
    const pfc_optimizer *optimizer, uint32_t age, const float *p, const float *m, const float *v, const float *g,
    size_t count, float clip, float *p_next, float *m_next, float *v_next);

/// The same with moments kept as bf16, rounded stochastically: the random bits of an element are a function of `key` and its place
/// `first_element` + i in the flat vector.
void pfc_adamw_bf16(
    const pfc_optimizer *optimizer, uint32_t age, const float *p, const uint16_t *m, const uint16_t *v, const float *g,
    size_t count, float clip, uint64_t key, uint64_t first_element, float *p_next, uint16_t *m_next, uint16_t *v_next);

/// Rounds numbers to bf16, stochastically: the random bits of an element are a function of `key` and its place `first_element` + i in
/// the flat vector. The numbers stay floats. What is a bf16 already, or not finite, stays as it is.
void pfc_round_bf16(float *values, size_t count, uint64_t key, uint64_t first_element);

/// Whether every bf16 number is finite.
int pfc_all_finite_bf16(const uint16_t *a, size_t count);

/// Running statistics: r' = (1 − momentum)·r + momentum·(sum / count_of_batches).
void pfc_running_statistics(
    const float *running, const float *sum, size_t count, float momentum, float batches, float *next);
