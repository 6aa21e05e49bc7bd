#pragma once
// Copies that leave the caches to others: what is overwritten is not read first, and nobody reads it soon.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t pfc_line __attribute__((vector_size(64), may_alias));
typedef uint64_t pfc_line_anywhere __attribute__((vector_size(64), may_alias, aligned(1)));

/// Whole lines go past the caches if `destination` is a multiple of 64; whoever tells another thread of them calls
/// `pfc_past_caches_done` before.
static inline void pfc_past_caches(void *destination, const void *source, ptrdiff_t byte_count) {
    char *to = destination;
    const char *from = source;
    ptrdiff_t whole = (uintptr_t)destination % 64 == 0 ? byte_count / 64 * 64 : 0;
    for (ptrdiff_t b = 0; b < whole; b += 64)
        __builtin_nontemporal_store(*(const pfc_line_anywhere *)(const void *)(from + b), (pfc_line *)(void *)(to + b));
    memcpy(to + whole, from + whole, (size_t)(byte_count - whole));
}

static inline void pfc_past_caches_done(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
