#pragma once
// How the weights of depthwise convolutions of bytes lie where a tap's channels are taken as they are: [panel][tap][16].
#include "kernels.h"

enum { depthwise_channels = 16 };

static size_t depthwise_bytes(size_t taps, size_t channels) { return pfi_round_up(channels, depthwise_channels) * taps; }

static void depthwise_pack(const int8_t *weights, size_t taps, size_t channels, void *packed) {
    int8_t *out = packed;
    for (size_t first = 0; first < channels; first += depthwise_channels)
        for (size_t t = 0; t < taps; t++)
            for (size_t c = first; c < first + depthwise_channels; c++)
                *out++ = c < channels ? weights[t * channels + c] : 0;
}
