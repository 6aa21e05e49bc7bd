#pragma once
#include <stddef.h>

/* The operators of a network besides convolutions, linear layers and batch normalisations, forward and backward. Elementary
   functions are those of head_math.h, in double: the same bits on every processor. */

typedef enum {
    PFC_RELU,
    PFC_CLIP,
    PFC_LEAKY_RELU,
    PFC_SIGMOID,
    PFC_TANH,
    PFC_HARD_SIGMOID,
    PFC_HARD_SWISH,
    PFC_GELU,
    PFC_SILU,
} pfc_activation;

/// y = f(x). `a` and `b`: the bounds of a clip; `a`: the slope of a leaky ReLU.
void pfc_activate(pfc_activation kind, float a, float b, const float *x, size_t count, float *y);

/// dx = f'(x) dy.
void pfc_activate_backward(
    pfc_activation kind, float a, float b, const float *x, const float *dy, size_t count, float *dx);

/// y = max(x, 0) + slope min(x, 0), `channels` slopes to a row.
void pfc_prelu(const float *x, size_t rows, size_t channels, const float *slope, float *y);

/// dx, and Σ dy min(x, 0) over rows for each channel. `work` holds `channels` floats. dx may be null.
void pfc_prelu_backward(
    const float *dy, const float *x, size_t rows, size_t channels, const float *slope, float *dx, double *sums,
    float *work);

typedef enum { PFC_ADD, PFC_SUBTRACT, PFC_MULTIPLY, PFC_DIVIDE } pfc_binary_kind;

/// The extents of a result, outermost first, and for each how far both operands move: 0 where an operand is broadcast.
#define PFC_MAX_RANK 8
typedef struct {
    size_t rank;
    size_t extents[PFC_MAX_RANK];
    size_t a[PFC_MAX_RANK], b[PFC_MAX_RANK];
} pfc_broadcast;

/// y = a ∘ b.
void pfc_binary(pfc_binary_kind kind, const pfc_broadcast *shape, const float *a, const float *b, float *y);

/// Adds ∂loss/∂a and ∂loss/∂b to `da` and `db`, either of which may be null. Sums go row by row, in order.
void pfc_binary_backward(
    pfc_binary_kind kind, const pfc_broadcast *shape, const float *a, const float *b, const float *dy, float *da,
    float *db);

/// Images [samples, height, width, channels] under a window.
typedef struct {
    size_t samples, channels, height, width, out_height, out_width;
    size_t kernel_height, kernel_width, stride_height, stride_width, top, left, bottom, right;
    /// Whether an average counts the padding.
    int counts_padding;
} pfc_window;

void pfc_pool_maximum(const pfc_window *w, const float *x, float *y);
void pfc_pool_average(const pfc_window *w, const float *x, float *y);
/// The gradient goes to the first of the largest. `dx` is overwritten.
void pfc_pool_maximum_backward(const pfc_window *w, const float *x, const float *dy, float *dx);
void pfc_pool_average_backward(const pfc_window *w, const float *dy, float *dx);

/// Copies an array of `extents`, outermost first, whose axes lie `strides` apart in `x`, to a dense `y`.
void pfc_permute(const float *x, size_t rank, const size_t *extents, const size_t *strides, float *y);

/// Copies `count` blocks of `block` floats that lie `from` and `to` floats apart.
void pfc_copy_blocks(const float *x, size_t from, float *y, size_t to, size_t count, size_t block);

/// y = softmax of x along the middle axis of [outer, count, inner].
void pfc_softmax_axis(const float *x, size_t outer, size_t count, size_t inner, float *y);
/// dx = y (dy − Σ y dy).
void pfc_softmax_axis_backward(
    const float *y, const float *dy, size_t outer, size_t count, size_t inner, float *dx);

/// y = (x − mean) / sqrt(variance + epsilon) · weight + bias over each row; `bias` may be null. `state` gets mean and inverse
/// deviation of every row.
void pfc_layer_norm(
    const float *x, size_t rows, size_t count, const float *weight, const float *bias, float epsilon, float *y,
    float *state);
/// dx, and the sums over rows for weight and bias, in double; `dx` may be null.
void pfc_layer_norm_backward(
    const float *dy, const float *x, size_t rows, size_t count, const float *weight, const float *state, float *dx,
    double *weight_sums, double *bias_sums);
