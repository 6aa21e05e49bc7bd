#pragma once
// AdamW (Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv 1711.05101, algorithm 2), as PyTorch computes it.
#include <math.h>
#include <stdint.h>

#include "head_math.h"
#include "optimizer.h"

/// The factors of a step of parameters of one age.
typedef struct {
    /// 1 - rate * decay.
    float kept;
    /// 1 - beta1; beta2; 1 - beta2.
    float first, old_second, second;
    /// rate / (1 - beta1^t); 1 / sqrt(1 - beta2^t).
    float rate, inverse_root;
    float epsilon;
} adamw_step;

/// base^n, by products alone: the same bits on every CPU.
PFC_INLINE double power_of(double base, uint32_t n) {
    double result = 1.0;
    for (; n; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

/// The step of parameters that have taken part in `age` steps, this one included.
PFC_INLINE adamw_step adamw_step_of(const pfc_optimizer *optimizer, uint32_t age) {
    double rate = optimizer->rate;
    return (adamw_step){
        .kept = (float)(1.0 - rate * (double)optimizer->decay),
        .first = (float)(1.0 - optimizer->beta1),
        .old_second = (float)optimizer->beta2,
        .second = (float)(1.0 - optimizer->beta2),
        .rate = (float)(rate / (1.0 - power_of(optimizer->beta1, age))),
        .inverse_root = (float)(1.0 / sqrt(1.0 - power_of(optimizer->beta2, age))),
        .epsilon = optimizer->epsilon,
    };
}

/// The parameter `w` after a step with `gradient`; its moments are moved.
PFC_INLINE float adamw_element(const adamw_step *step, float w, float gradient, float *m, float *v) {
    *m = *m + step->first * (gradient - *m);
    *v = step->old_second * *v + step->second * (gradient * gradient);
    return step->kept * w - step->rate * (*m / (sqrtf(*v) * step->inverse_root + step->epsilon));
}
