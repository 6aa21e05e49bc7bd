// How the weights of products lie for each kind of tile.
#include "kernels.h"

size_t pfi_group_of(pfi_layout layout) {
    switch (layout) {
    case PFI_FOURS: return 4;
    case PFI_EIGHTS:
    case PFI_TWOS: return 8;
    case PFI_PAIRS: return 2;
    default: return 1;
    }
}

size_t pfi_bytes_of(pfi_layout layout, size_t depth) {
    switch (layout) {
    case PFI_PAIRS: return depth * 2;
    case PFI_SINGLES: return depth * 4;
    default: return depth;
    }
}

static size_t packed_bytes(const pfi_products *k, size_t taps, size_t channels, size_t outputs) {
    size_t width = 0;
    for (size_t first = 0; first < outputs;) {
        size_t here = pfi_width_at(k, first, outputs);
        width += here;
        first += here;
    }
    return width * pfi_bytes_of(k->layout, pfi_round_up(taps * channels, pfi_group_of(k->layout)));
}

static void pack_bytes(const pfi_products *k, const int8_t *weights, size_t depth, size_t outputs, void *packed) {
    size_t group = pfi_group_of(k->layout), all = pfi_round_up(depth, group);
    size_t together = k->layout == PFI_TWOS ? 2 : pfi_smaller(group, 4);
    unsigned char *out = packed;
    for (size_t first = 0; first < outputs;) {
        size_t width = pfi_width_at(k, first, outputs);
        for (size_t start = 0; start < all; start += together)
            for (size_t n = first; n < first + width; n++)
                for (size_t i = start; i < start + together; i++) {
                    int8_t w = n < outputs && i < depth ? weights[n * depth + i] : 0;
                    int16_t wide = w;
                    if (k->layout == PFI_PAIRS)
                        memcpy(out, &wide, 2);
                    else
                        memcpy(out, &w, 1);
                    out += k->layout == PFI_PAIRS ? 2 : 1;
                }
        first += width;
    }
}

static void pack_singles(const pfi_products *k, const float *weights, size_t depth, size_t outputs, float *out) {
    for (size_t first = 0; first < outputs;) {
        size_t width = pfi_width_at(k, first, outputs);
        for (size_t i = 0; i < depth; i++)
            for (size_t n = 0; n < width; n++) *out++ = first + n < outputs ? weights[(first + n) * depth + i] : 0;
        first += width;
    }
}

// MARK: The functions of inference.h

const pfi_products *pfi_products_of(pfi_isa isa, int bits) {
    const pfi_kernels *k = pfi_kernels_of(isa);
    return bits <= 7 ? &k->seven : &k->eight;
}

size_t pfi_packed_bytes_s8(pfi_isa isa, int bits, size_t taps, size_t channels, size_t outputs) {
    return packed_bytes(pfi_products_of(isa, bits), taps, channels, outputs);
}

void pfi_pack_s8(
    pfi_isa isa, int bits, const int8_t *weights, size_t taps, size_t channels, size_t outputs, void *packed) {
    pack_bytes(pfi_products_of(isa, bits), weights, taps * channels, outputs, packed);
}

size_t pfi_packed_bytes_f32(pfi_isa isa, size_t taps, size_t channels, size_t outputs) {
    return packed_bytes(&pfi_kernels_of(isa)->singles, taps, channels, outputs);
}

void pfi_pack_f32(
    pfi_isa isa, const float *weights, size_t taps, size_t channels, size_t outputs, void *packed) {
    pack_singles(&pfi_kernels_of(isa)->singles, weights, taps * channels, outputs, packed);
}
