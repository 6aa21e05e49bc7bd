// XXH64 (Yann Collet, specification 0.1.1): a published hash that other tools can compute as well.
#include <string.h>

#include "head.h"

static const uint64_t p1 = 11400714785074694791ULL, p2 = 14029467366897019727ULL, p3 = 1609587929392839161ULL,
                      p4 = 9650029242287828579ULL, p5 = 2870177450012600261ULL;

static inline uint64_t rotate(uint64_t x, int r) { return x << r | x >> (64 - r); }

static inline uint64_t round64(uint64_t acc, uint64_t lane) { return rotate(acc + lane * p2, 31) * p1; }

static inline uint64_t merge(uint64_t acc, uint64_t lane) { return (acc ^ round64(0, lane)) * p1 + p4; }

static inline uint64_t read64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

uint64_t pfc_head_hash(const void *bytes, size_t byte_count, uint64_t seed) {
    const uint8_t *p = bytes, *end = p + byte_count;
    uint64_t h;
    if (byte_count >= 32) {
        uint64_t a = seed + p1 + p2, b = seed + p2, c = seed, d = seed - p1;
        for (; end - p >= 32; p += 32) {
            a = round64(a, read64(p));
            b = round64(b, read64(p + 8));
            c = round64(c, read64(p + 16));
            d = round64(d, read64(p + 24));
        }
        h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        h = merge(merge(merge(merge(h, a), b), c), d);
    } else {
        h = seed + p5;
    }
    h += byte_count;
    for (; end - p >= 8; p += 8) h = rotate(h ^ round64(0, read64(p)), 27) * p1 + p4;
    if (end - p >= 4) {
        uint32_t v;
        memcpy(&v, p, 4);
        h = rotate(h ^ v * p1, 23) * p2 + p3;
        p += 4;
    }
    for (; p < end; p++) h = rotate(h ^ *p * p5, 11) * p1;
    h = (h ^ h >> 33) * p2;
    h = (h ^ h >> 29) * p3;
    return h ^ h >> 32;
}
