// Rows from and to a table, as bytes.
#define _GNU_SOURCE
#include <sys/mman.h>

#include "bf16_round.h"
#include "head_vectors.h"
#include "past_caches.h"
#include "rows.h"

void pfc_rows_gather(
    const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count, void *destination) {
    enum { ahead = 6 };
    for (ptrdiff_t i = 0; i < count; i++) {
        if (i + ahead < count) {
            const char *next = (const char *)source + places[i + ahead] * byte_count;
            for (ptrdiff_t b = 0; b < byte_count; b += 64) __builtin_prefetch(next + b);
        }
        pfc_past_caches(
            (char *)destination + i * byte_count, (const char *)source + places[i] * byte_count, byte_count);
    }
    pfc_past_caches_done();
}

void pfc_rows_scatter(
    const void *source, const int64_t *places, ptrdiff_t count, ptrdiff_t byte_count, void *destination) {
    for (ptrdiff_t i = 0; i < count; i++)
        pfc_past_caches(
            (char *)destination + places[i] * byte_count, (const char *)source + i * byte_count, byte_count);
    pfc_past_caches_done();
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
    // Disks read a little more at once sooner than the same with gaps.
    enum { page = 4096, gap = 16 * page };
    uintptr_t begin = 0, end = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        uintptr_t first = ((uintptr_t)source + (uintptr_t)(places[i] * byte_count)) / page * page;
        uintptr_t last = ((uintptr_t)source + (uintptr_t)((places[i] + 1) * byte_count) + page - 1) / page * page;
        if (i > 0 && first <= end + gap) {
            end = last > end ? last : end;
            continue;
        }
        if (end > begin) madvise((void *)begin, end - begin, MADV_WILLNEED);
        begin = first;
        end = last;
    }
    if (end > begin) madvise((void *)begin, end - begin, MADV_WILLNEED);
}
