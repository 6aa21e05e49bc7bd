// Keyed numbers in bulk: the permutation that chooses negatives, and the initial rows.
#include "head.h"
#include "head_math.h"

#define PFC_GOLDEN 0x9E3779B97F4A7C15ULL

/// The SplitMix64 finaliser, as in KeyedRandom.
PFC_INLINE uint64_t pfc_mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

enum { pfc_rounds = 12, pfc_small = 256 };

/// A Feistel network is not random enough on a handful of values, and there shuffling costs next to nothing
/// (Fisher and Yates, as far as values are wanted).
static uint64_t shuffle_small(uint64_t key, uint64_t size, uint64_t count, uint64_t *values) {
    uint8_t order[pfc_small];
    for (uint64_t i = 0; i < size; i++) order[i] = (uint8_t)i;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t word = pfc_mix(key + (i + 1) * PFC_GOLDEN);
        uint64_t other = i + (uint64_t)(((unsigned __int128)word * (size - i)) >> 64);
        uint8_t value = order[other];
        order[other] = order[i];
        order[i] = value;
        values[i] = value;
    }
    return count;
}

// An alternating Feistel network over the smallest power of two that holds `size`, with cycle walking: a value outside
// 0..<size is sent through again until it falls inside (Black and Rogaway, Ciphers with arbitrary finite domains, 2002).
uint64_t pfc_head_permute(uint64_t key, uint64_t size, uint64_t count, uint64_t *values) {
    if (size <= pfc_small) return shuffle_small(key, size, count, values);
    unsigned bits = 8;
    while (bits < 63 && (1ULL << bits) < size) bits++;
    unsigned low_bits = bits / 2;
    uint64_t low_mask = (1ULL << low_bits) - 1, high_mask = (1ULL << (bits - low_bits)) - 1;
    uint64_t keys[pfc_rounds];
    for (int round = 0; round < pfc_rounds; round++) keys[round] = pfc_mix(key + (uint64_t)(round + 1) * PFC_GOLDEN);
    uint64_t evaluations = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value = i;
        do {
            uint64_t low = value & low_mask, high = value >> low_bits;
            for (int round = 0; round < pfc_rounds; round += 2) {
                low ^= (pfc_mix(high ^ keys[round]) >> 32) & low_mask;
                high ^= (pfc_mix(low ^ keys[round + 1]) >> 32) & high_mask;
            }
            value = high << low_bits | low;
            evaluations++;
        } while (value >= size);
        values[i] = value;
    }
    return evaluations;
}

// Box and Muller (1958) on pairs of 53-bit numbers: cosines fill the first half of the row, sines the second.
PFC_CLONES void pfc_head_normal_row(uint64_t key, float deviation, ptrdiff_t size, float *row) {
    enum { block = 64 };
    ptrdiff_t half = (size + 1) / 2;
    for (ptrdiff_t start = 0; start < half; start += block) {
        double cosines[block], sines[block];
        for (int lane = 0; lane < block; lane++) {
            uint64_t pair = (uint64_t)(start + lane);
            uint64_t a = pfc_mix(key + (2 * pair + 1) * PFC_GOLDEN), b = pfc_mix(key + (2 * pair + 2) * PFC_GOLDEN);
            // 52 bits placed in a fraction give a number in [1, 2); two less that is never 0, so its logarithm is finite.
            double radius_unit = (2.0 - pfc_double_of_bits((int64_t)(a >> 12 | 0x3ff0000000000000ULL)));
            double angle_unit = pfc_double_of_bits((int64_t)(b >> 12 | 0x3ff0000000000000ULL)) - 1.0;
            double radius = sqrt(-2.0 * pfc_log(radius_unit)) * (double)deviation;
            const double magic = 0x1.8p52;
            double shifted = 4.0 * angle_unit + magic, quarter = shifted - magic;
            double sine, cosine;
            pfc_rotate(
                pfc_bits_of_double(shifted) - pfc_bits_of_double(magic), (4.0 * angle_unit - quarter) * 0x1.921fb54442d18p0,
                &sine, &cosine);
            cosines[lane] = radius * cosine;
            sines[lane] = radius * sine;
        }
        for (int lane = 0; lane < block && start + lane < half; lane++) {
            row[start + lane] = (float)cosines[lane];
            if (half + start + lane < size) row[half + start + lane] = (float)sines[lane];
        }
    }
}
