#include "image.h"

#include <stdlib.h>

// Weights of one output pixel: `count` taps from source pixel `start`, adding up to exactly 1 << 14.
typedef struct {
    int32_t start;
    int32_t count;
    int32_t first;
} taps_t;

enum { WEIGHT_BITS = 14, ONE = 1 << WEIGHT_BITS };

// Fills `taps` and `weights` for one axis. An output pixel covers [i*source, (i+1)*source) in units of 1/target of a
// source pixel, so overlaps are integers; what rounding loses goes to the tap with the largest weight.
static void make_taps(int32_t source, int32_t target, taps_t *taps, int32_t *weights, int32_t stride) {
    for (int32_t i = 0; i < target; i++) {
        int32_t *row = weights + (size_t)i * stride;
        taps[i].first = i * stride;
        if (target <= source) {
            int64_t low = (int64_t)i * source, high = low + source;
            int32_t start = (int32_t)(low / target), end = (int32_t)((high + target - 1) / target);
            int32_t total = 0, largest = 0;
            for (int32_t j = start; j < end; j++) {
                int64_t from = (int64_t)j * target, to = from + target;
                int64_t overlap = (to < high ? to : high) - (from > low ? from : low);
                int32_t weight = (int32_t)(overlap * ONE / source);
                row[j - start] = weight;
                total += weight;
                if (weight > row[largest]) largest = j - start;
            }
            row[largest] += ONE - total;
            taps[i].start = start;
            taps[i].count = end - start;
        } else {
            int64_t position = (2 * (int64_t)i + 1) * source - target, unit = 2 * (int64_t)target;
            if (position < 0) position = 0;
            int32_t start = (int32_t)(position / unit);
            int32_t upper = (int32_t)((position - start * unit) * ONE / unit);
            if (start >= source - 1) {
                taps[i].start = source - 1;
                taps[i].count = 1;
                row[0] = ONE;
            } else {
                taps[i].start = start;
                taps[i].count = 2;
                row[0] = ONE - upper;
                row[1] = upper;
            }
        }
    }
}

static int32_t tap_stride(int32_t source, int32_t target) { return target <= source ? source / target + 2 : 2; }

int pfc_image_resize(
    const uint8_t *source, int32_t source_height, int32_t source_width, int32_t channels, uint8_t *target,
    int32_t target_height, int32_t target_width) {
    int32_t stride_x = tap_stride(source_width, target_width), stride_y = tap_stride(source_height, target_height);
    size_t row = (size_t)target_width * channels;
    taps_t *taps_x = malloc(sizeof(taps_t) * target_width), *taps_y = malloc(sizeof(taps_t) * target_height);
    int32_t *weights_x = malloc(sizeof(int32_t) * stride_x * target_width);
    int32_t *weights_y = malloc(sizeof(int32_t) * stride_y * target_height);
    // Six fraction bits are kept between the passes: 255 << 6 fits in 16 bits.
    uint16_t *middle = malloc(sizeof(uint16_t) * row * source_height);
    int32_t *sum = malloc(sizeof(int32_t) * row);
    int result = -1;
    if (taps_x && taps_y && weights_x && weights_y && middle && sum) {
        make_taps(source_width, target_width, taps_x, weights_x, stride_x);
        make_taps(source_height, target_height, taps_y, weights_y, stride_y);
        for (int32_t y = 0; y < source_height; y++) {
            const uint8_t *in = source + (size_t)y * source_width * channels;
            uint16_t *out = middle + (size_t)y * row;
            for (int32_t x = 0; x < target_width; x++) {
                const int32_t *weights = weights_x + taps_x[x].first;
                for (int32_t c = 0; c < channels; c++) {
                    int32_t total = 0;
                    for (int32_t k = 0; k < taps_x[x].count; k++)
                        total += weights[k] * in[(size_t)(taps_x[x].start + k) * channels + c];
                    out[(size_t)x * channels + c] = (uint16_t)((total + 128) >> 8);
                }
            }
        }
        for (int32_t y = 0; y < target_height; y++) {
            const int32_t *weights = weights_y + taps_y[y].first;
            for (size_t i = 0; i < row; i++) sum[i] = 1 << 19;
            for (int32_t k = 0; k < taps_y[y].count; k++) {
                const uint16_t *in = middle + (size_t)(taps_y[y].start + k) * row;
                for (size_t i = 0; i < row; i++) sum[i] += weights[k] * in[i];
            }
            for (size_t i = 0; i < row; i++) {
                int32_t value = sum[i] >> 20;
                target[(size_t)y * row + i] = (uint8_t)(value > 255 ? 255 : value);
            }
        }
        result = 0;
    }
    free(taps_x), free(taps_y), free(weights_x), free(weights_y), free(middle), free(sum);
    return result;
}
