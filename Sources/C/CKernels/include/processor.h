#pragma once
// The processor cores that a thread may run on, as bits: core n is bit n % 64 of word n / 64.
#include <stddef.h>
#include <stdint.h>

/// Fills `words` with the cores of this thread. Returns 0, or -1 if the system has more of them.
int pfc_allowed_cores(uint64_t *words, size_t count);

/// Keeps this thread, and those that it makes from now on, on the cores of `words`. Returns 0, or -1 if it may run on none.
int pfc_stay_on_cores(const uint64_t *words, size_t count);
