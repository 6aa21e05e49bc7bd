// Rows from and to a table, as bytes.
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "bf16_round.h"
#include "head_vectors.h"
#include "rows.h"

typedef uint64_t line __attribute__((vector_size(64), may_alias));

void pfc_rows_gather(
    const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count, void *destination) {
    enum { ahead = 6 };
    int is_aligned = (byte_count | (ptrdiff_t)(uintptr_t)destination | (ptrdiff_t)(uintptr_t)source) % 64 == 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        if (i + ahead < count) {
            const char *next = (const char *)source + places[i + ahead] * byte_count;
            for (ptrdiff_t b = 0; b < byte_count; b += 64) __builtin_prefetch(next + b);
        }
        const char *from = (const char *)source + places[i] * byte_count;
        char *to = (char *)destination + i * byte_count;
        if (is_aligned) {
            for (ptrdiff_t b = 0; b < byte_count; b += 64)
                __builtin_nontemporal_store(*(const line *)(const void *)(from + b), (line *)(void *)(to + b));
        } else {
            memcpy(to, from, (size_t)byte_count);
        }
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void pfc_rows_scatter(
    const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count, void *destination) {
    for (ptrdiff_t i = 0; i < count; i++)
        memcpy(
            (char *)destination + places[i] * byte_count, (const char *)source + i * byte_count, (size_t)byte_count);
}

PFC_CLONES void pfc_rows_inverse_norms_bf16(const uint16_t *rows, ptrdiff_t count, ptrdiff_t size, float *inverse) {
    for (ptrdiff_t i = 0; i < count; i++, rows += size) {
        double lane[lanes] = {0};
        ptrdiff_t j = 0;
        for (; j + lanes <= size; j += lanes)
            for (int k = 0; k < lanes; k++) {
                double w = (double)pfc_bf16_value(rows[j + k]);
                lane[k] += w * w;
            }
        for (int k = 0; j + k < size; k++) {
            double w = (double)pfc_bf16_value(rows[j + k]);
            lane[k] += w * w;
        }
        double norm = sqrt(combine(lane));
        inverse[i] = norm < pfc_shortest ? 0.0f : (float)(1.0 / norm);
    }
}

void pfc_rows_will_need(const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count) {
    enum { page = 4096 };
    uintptr_t begin = 0, end = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        uintptr_t first = ((uintptr_t)source + (uintptr_t)(places[i] * byte_count)) / page * page;
        uintptr_t last = ((uintptr_t)source + (uintptr_t)((places[i] + 1) * byte_count) + page - 1) / page * page;
        if (i > 0 && first <= end) {
            end = last > end ? last : end;
            continue;
        }
        if (end > begin) madvise((void *)begin, end - begin, MADV_WILLNEED);
        begin = first;
        end = last;
    }
    if (end > begin) madvise((void *)begin, end - begin, MADV_WILLNEED);
}
