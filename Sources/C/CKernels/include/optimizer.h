#pragma once
// What changes parameters by their gradients.

typedef enum {
    pfc_optimizer_sgd = 0,
    pfc_optimizer_adamw = 1,
} pfc_optimizer_kind;

/// An optimiser in one step.
typedef struct {
    pfc_optimizer_kind kind;
    float rate, decay;
    /// Of SGD.
    float momentum;
    /// Of AdamW.
    double beta1, beta2;
    float epsilon;
} pfc_optimizer;
