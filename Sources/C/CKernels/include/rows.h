#pragma once
// Rows as they are kept: gathered, and updated in place.
#include <stddef.h>
#include <stdint.h>

#include "optimizer.h"

/// How the numbers of a row are kept (codec.h).
typedef enum {
    /// Single precision, 4 bytes each.
    pfc_format_f32 = 0,
    /// The upper halves of single-precision numbers.
    pfc_format_bf16 = 1,
    /// Signed bytes, then, at a multiple of 4, a single-precision scale that they are multiplied with.
    pfc_format_int8 = 2,
    /// Not at all.
    pfc_format_none = 3,
} pfc_format;

/// destination[i] = source[places[i]] for rows of `byte_count` bytes, past the caches: what is gathered is more than they hold.
void pfc_rows_gather(
    const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count, void *destination);

/// destination[places[i]] = source[i] for rows of `byte_count` bytes.
void pfc_rows_scatter(
    const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count, void *destination);

/// Asks the system to bring rows of `byte_count` bytes from a file into memory, and what lies between those that are near to each
/// other; returns at once. `places` ascend.
void pfc_rows_will_need(const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count);

/// inverse[i] = 1 / |row i|, 0 for a row of (almost) no length; rows bf16.
void pfc_rows_inverse_norms_bf16(const uint16_t *rows, ptrdiff_t count, ptrdiff_t size, float *inverse);

/// Rounds rows of `size` numbers to bf16, stochastically, as `pfc_rows_update` does: the random bits of number d of a row are a
/// function of (key, class id, d). The numbers stay floats. What is a bf16 already stays as it is.
void pfc_rows_round_bf16(float *rows, const int64_t *ids, ptrdiff_t count, ptrdiff_t size, uint64_t key);

/// An optimiser of rows in one step.
typedef struct {
    pfc_optimizer rule;
    /// How rows are kept, and what the optimiser keeps beside them, but for ages.
    pfc_format rows, state;
    /// 1: to the nearest; 0: stochastic.
    int nearest;
    double scale_over_batch;
    /// Key of the random bits of this step.
    uint64_t key;
} pfc_row_optimizer;

/// Updates rows of a table with the gradient of `h` f32 [count, size]: g = scale_over_batch / |w| * (h - <h, w/|w|> w/|w|).
///
/// SGD: v = momentum * v + (g + decay * w), w = w - rate * v. AdamW: see adamw.h; a row's age is the number of steps that it has taken
/// part in.
///
/// `rows` are the gathered rows. `planes` are the table's memory, where row i is at `places[i]`: the rows; then for SGD the momentum, for
/// AdamW the first moment, the second moment and the age (one float a row). `ids` are the classes. What the optimiser keeps as it was goes
/// to `old_state`, plane by plane. Rows with `skipped[i]` (which may be null) stay as they are. `scratch` has 3 * size numbers.
///
/// Stochastic rounding adds random bits below the last one that is kept: those of number d of a row are a function of
/// (key, class id, d).
///
/// Returns the first row that would not be finite, or -1. The others are updated nevertheless.
ptrdiff_t pfc_rows_update(
    const pfc_row_optimizer *optimizer, const float *h, const void *rows, const int64_t *ids, const int64_t *places,
    const uint8_t *skipped, ptrdiff_t count, ptrdiff_t size, void *const *planes, void *const *old_state,
    float *scratch);
