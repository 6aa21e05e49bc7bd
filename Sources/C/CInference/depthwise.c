// Depthwise convolutions and rows alone: the loop over panels of channels.
#include "kernels.h"

static const pfi_depthwise *of_bits(pfi_isa isa, int bits) {
    const pfi_kernels *k = pfi_kernels_of(isa);
    return bits <= 7 ? &k->depthwise_seven : &k->depthwise_eight;
}

/// Bytes of one panel.
static size_t panel_bytes(const pfi_depthwise *k, size_t taps, size_t group) {
    if (k->pairs && pfi_is_pairs(taps, group)) return 2 * k->packed_bytes(taps, k->lanes);
    return k->packed_bytes(taps * group, k->lanes);
}

size_t pfi_packed_bytes_depthwise_s8(pfi_isa isa, int bits, size_t taps, size_t group, size_t channels) {
    const pfi_depthwise *k = of_bits(isa, bits);
    return pfi_round_up(channels, k->lanes) / k->lanes * panel_bytes(k, taps, group);
}

void pfi_pack_depthwise_s8(
    pfi_isa isa, int bits, const int8_t *weights, size_t taps, size_t group, size_t channels, void *packed) {
    const pfi_depthwise *k = of_bits(isa, bits);
    if (!k->pairs || !pfi_is_pairs(taps, group)) {
        k->pack(weights, taps * group, channels, packed);
        return;
    }
    unsigned char *out = packed;
    for (size_t first = 0; first < channels; first += k->lanes)
        for (size_t g = 0; g < 2; g++, out += k->packed_bytes(9, k->lanes)) {
            int8_t panel[9 * pfi_most_outputs] = {0};
            for (size_t t = 0; t < 9; t++)
                memcpy(
                    panel + t * k->lanes, weights + (t * 2 + g) * channels + first, pfi_smaller(k->lanes, channels - first));
            k->pack(panel, 9, k->lanes, out);
        }
}

void pfi_depthwise_u8s8(
    pfi_isa isa, int bits, const pfi_problem *p, const uint8_t *x, const uint8_t *padding, const void *packed,
    const int32_t *correction, const pfi_epilogue *e, size_t begin, size_t end) {
    const pfi_depthwise *k = of_bits(isa, bits);
    if (begin >= end) return;
    size_t of_panel = panel_bytes(k, p->taps, pfi_width_of_group(p));
    for (size_t first = 0; first < p->outputs; first += k->lanes) {
        pfi_panel_storage storage;
        pfi_panel panel = pfi_make_panel(e, correction, first, k->lanes, p->outputs, &storage);
        pfi_strip strip = {
            .p = p, .x = x, .padding = padding, .panel = &panel, .begin = begin, .end = end,
            .weights = (const unsigned char *)packed + first / k->lanes * of_panel};
        k->run(&strip);
    }
}

void pfi_depthwise_f32(
    pfi_isa isa, const pfi_problem *p, const float *x, const float *padding, const float *weights,
    const pfi_epilogue *e, size_t begin, size_t end) {
    const pfi_kernels *k = pfi_kernels_of(isa);
    if (begin >= end) return;
    for (size_t first = 0; first < p->outputs; first += k->float_width) {
        pfi_panel_storage storage;
        pfi_panel panel = pfi_make_panel(e, NULL, first, k->float_width, p->outputs, &storage);
        pfi_strip strip = {
            .p = p, .x = x, .padding = padding, .weights = weights, .panel = &panel, .begin = begin, .end = end};
        k->depthwise_singles(&strip);
    }
}

void pfi_rows_f32(
    pfi_isa isa, size_t outputs, const float *x, size_t stride, const pfi_epilogue *e, size_t begin, size_t end) {
    const pfi_kernels *k = pfi_kernels_of(isa);
    if (begin >= end) return;
    for (size_t first = 0; first < outputs; first += k->float_width) {
        pfi_panel_storage storage;
        pfi_panel panel = pfi_make_panel(e, NULL, first, k->float_width, outputs, &storage);
        k->rows(&panel, x, stride, begin, end);
    }
}

void pfi_decode(
    const uint8_t *codes, size_t stride, size_t channels, size_t rows, int32_t zero, float scale, float *out,
    size_t out_stride) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < channels; c++)
            out[r * out_stride + c] = (float)((int32_t)codes[r * stride + c] - zero) * scale;
}
