#pragma once
#include <stdint.h>

/// Sets flush-to-zero and denormals-are-zero for the calling thread and returns the previous control word.
/// Every thread that computes does this first: denormal gradients slow a scatter-add five times, and a thread that
/// rounds denormals differently would break the rule of the same bits anywhere.
uint32_t pfc_flush_denormals_enter(void);

/// Restores the control word that `pfc_flush_denormals_enter` returned.
void pfc_flush_denormals_leave(uint32_t previous);

/// The natural logarithm of a normal x > 0: the same bits on every processor.
double pfc_logarithm(double x);
