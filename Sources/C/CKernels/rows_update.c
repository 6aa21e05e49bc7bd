// The row optimiser on rows as they are kept.
#include "adamw.h"
#include "past_caches.h"
#include "row_codec.h"

PFC_CLONES void pfc_rows_round_bf16(
    float *restrict rows, const int64_t *ids, ptrdiff_t count, ptrdiff_t size, uint64_t key) {
    for (ptrdiff_t i = 0; i < count; i++, rows += size) {
        uint32_t bits_key = row_key(key, ids[i]);
        for (ptrdiff_t d = 0; d < size; d++) {
            uint32_t bits = (uint32_t)pfc_bits_of_float(rows[d]) + (random_bits(bits_key, d) & 0xffff);
            rows[d] = pfc_float_of_bits((int32_t)(bits & 0xffff0000));
        }
    }
}

PFC_INLINE void prefetch(const char *row, ptrdiff_t byte_count) {
    for (ptrdiff_t b = 0; b < byte_count; b += 64) __builtin_prefetch(row + b, 1);
}

/// The larger of a magnitude and that of a number: they are ordered like their bits.
PFC_INLINE int32_t larger(int32_t magnitude, float value) {
    int32_t bits = pfc_bits_of_float(value) & 0x7fffffff;
    return bits > magnitude ? bits : magnitude;
}

/// The bf16 numbers from here on are rounded to infinities, or may be.
PFC_INLINE int32_t overflow_of(const pfc_row_optimizer *optimizer) {
    return optimizer->rows == pfc_format_bf16 || optimizer->state == pfc_format_bf16 ? 0x7f7f0000 : 0x7f800000;
}

enum { ahead = 2 };

/// Numbers of a row as floats: where they lie, or decoded into `scratch`.
PFC_INLINE const float *values_of(pfc_format format, const void *row, ptrdiff_t size, float *scratch) {
    if (format == pfc_format_f32) return row;
    decode_row(format, row, size, scratch);
    return scratch;
}

/// Encodes a row past the caches, by way of `scratch`, which may be where the values are.
PFC_INLINE void put_row(
    pfc_format format, const float *values, ptrdiff_t size, uint32_t key, int nearest, float *scratch, void *row) {
    const void *encoded = values;
    if (format != pfc_format_f32) {
        encode_row(format, values, size, key, 0, nearest, scratch);
        encoded = scratch;
    }
    pfc_past_caches(row, encoded, row_bytes_of(format, size));
}

PFC_INLINE ptrdiff_t update_sgd(
    const pfc_row_optimizer *optimizer, const float *h, const void *rows, const int64_t *ids, const int64_t *places,
    const uint8_t *skipped, ptrdiff_t count, ptrdiff_t size, void *const *planes, void *const *old_state,
    float *scratch) {
    pfc_format format = optimizer->rows, momentum_format = optimizer->state;
    ptrdiff_t row_bytes = row_bytes_of(format, size), momentum_bytes = row_bytes_of(momentum_format, size);
    float rate = optimizer->rule.rate, factor = optimizer->rule.momentum, decay = optimizer->rule.decay;
    float *restrict updated = scratch, *restrict v = scratch + size, *decoded = scratch + 2 * size;
    ptrdiff_t first_bad = -1;
    int32_t overflow = overflow_of(optimizer);
    for (ptrdiff_t i = 0; i < count; i++, h += size) {
        if (i + ahead < count) prefetch((char *)planes[1] + places[i + ahead] * momentum_bytes, momentum_bytes);
        char *row = (char *)planes[0] + places[i] * row_bytes;
        char *momentum = (char *)planes[1] + places[i] * momentum_bytes;
        pfc_past_caches((char *)old_state[0] + i * momentum_bytes, momentum, momentum_bytes);
        if (skipped && skipped[i]) continue;
        const float *w = values_of(format, (const char *)rows + i * row_bytes, size, decoded);
        decode_row(momentum_format, momentum, size, v);
        float outer, inner;
        gradient_factors(w, h, optimizer->scale_over_batch, size, &outer, &inner);
        int32_t largest = 0;
        for (ptrdiff_t d = 0; d < size; d++) {
            float gradient = outer * (h[d] - inner * w[d]);
            float velocity = factor * v[d] + (gradient + decay * w[d]);
            float value = w[d] - rate * velocity;
            largest = larger(largest, velocity);
            largest = larger(largest, value);
            v[d] = velocity;
            updated[d] = value;
        }
        if (largest >= overflow && first_bad < 0) first_bad = i;
        uint32_t key = row_key(optimizer->key, ids[i]);
        put_row(format, updated, size, key, optimizer->nearest, decoded, row);
        encode_row(momentum_format, v, size, key, 16, optimizer->nearest, momentum);
    }
    pfc_past_caches_done();
    return first_bad;
}

/// The random bits of the second moment have a key of their own: those of the row and of the first moment are the halves of one word.
static const uint64_t second_moment_key = 0x94D049BB133111EBULL;

PFC_INLINE ptrdiff_t update_adamw(
    const pfc_row_optimizer *optimizer, const float *h, const void *rows, const int64_t *ids, const int64_t *places,
    const uint8_t *skipped, ptrdiff_t count, ptrdiff_t size, void *const *planes, void *const *old_state,
    float *scratch) {
    pfc_format format = optimizer->rows, moment_format = optimizer->state;
    ptrdiff_t row_bytes = row_bytes_of(format, size), moment_bytes = row_bytes_of(moment_format, size);
    float *restrict w = scratch, *restrict m = scratch + size, *restrict v = scratch + 2 * size;
    float *ages = planes[3], *old_ages = old_state[2];
    ptrdiff_t first_bad = -1;
    int32_t overflow = overflow_of(optimizer);
    for (ptrdiff_t i = 0; i < count; i++, h += size) {
        if (i + ahead < count) {
            prefetch((char *)planes[1] + places[i + ahead] * moment_bytes, moment_bytes);
            prefetch((char *)planes[2] + places[i + ahead] * moment_bytes, moment_bytes);
        }
        char *row = (char *)planes[0] + places[i] * row_bytes;
        char *first = (char *)planes[1] + places[i] * moment_bytes;
        char *second = (char *)planes[2] + places[i] * moment_bytes;
        float age = ages[places[i]];
        pfc_past_caches((char *)old_state[0] + i * moment_bytes, first, moment_bytes);
        pfc_past_caches((char *)old_state[1] + i * moment_bytes, second, moment_bytes);
        old_ages[i] = age;
        if (skipped && skipped[i]) continue;
        decode_row(format, (const char *)rows + i * row_bytes, size, w);
        decode_row(moment_format, first, size, m);
        decode_row(moment_format, second, size, v);
        float outer, inner;
        gradient_factors(w, h, optimizer->scale_over_batch, size, &outer, &inner);
        // Beyond 2^24 both corrections are 1, and a float cannot count on.
        float next_age = age < 0x1p24f ? age + 1.0f : age;
        adamw_step step = adamw_step_of(&optimizer->rule, (uint32_t)next_age);
        int32_t largest = 0;
        for (ptrdiff_t d = 0; d < size; d++) {
            float gradient = outer * (h[d] - inner * w[d]);
            w[d] = adamw_element(&step, w[d], gradient, &m[d], &v[d]);
            largest = larger(larger(larger(largest, m[d]), v[d]), w[d]);
        }
        if (largest >= overflow && first_bad < 0) first_bad = i;
        uint32_t key = row_key(optimizer->key, ids[i]);
        if (format == pfc_format_f32)
            pfc_past_caches(row, w, row_bytes);
        else
            encode_row(format, w, size, key, 0, optimizer->nearest, row);
        encode_row(moment_format, m, size, key, 16, optimizer->nearest, first);
        encode_row(
            moment_format, v, size, row_key(optimizer->key ^ second_moment_key, ids[i]), 0, optimizer->nearest, second);
        ages[places[i]] = next_age;
    }
    pfc_past_caches_done();
    return first_bad;
}

PFC_CLONES ptrdiff_t pfc_rows_update(
    const pfc_row_optimizer *optimizer, const float *h, const void *rows, const int64_t *ids, const int64_t *places,
    const uint8_t *skipped, ptrdiff_t count, ptrdiff_t size, void *const *planes, void *const *old_state,
    float *scratch) {
    if (optimizer->rule.kind == pfc_optimizer_adamw)
        return update_adamw(optimizer, h, rows, ids, places, skipped, count, size, planes, old_state, scratch);
    return update_sgd(optimizer, h, rows, ids, places, skipped, count, size, planes, old_state, scratch);
}
