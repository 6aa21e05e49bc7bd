#include "image.h"

#include <string.h>

void pfc_image_gray_from_rgb(const uint8_t *rgb, uint8_t *gray, size_t pixels) {
    for (size_t i = 0; i < pixels; i++) {
        uint32_t luma = 299u * rgb[3 * i] + 587u * rgb[3 * i + 1] + 114u * rgb[3 * i + 2];
        gray[i] = (uint8_t)((luma + 500u) / 1000u);
    }
}

void pfc_image_rgb_from_gray(const uint8_t *gray, uint8_t *rgb, size_t pixels) {
    for (size_t i = 0; i < pixels; i++) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = gray[i];
}

static int32_t clamp(int32_t value, int32_t limit) { return value < 0 ? 0 : value >= limit ? limit - 1 : value; }

void pfc_image_normalize(
    const uint8_t *source, int32_t height, int32_t width, int32_t channels, int32_t flip, int32_t shift_y,
    int32_t shift_x, int32_t planar, float *target) {
    float table[256];
    for (int32_t i = 0; i < 256; i++) table[i] = ((float)i / 255.0f - 0.5f) / 0.5f;
    size_t plane = (size_t)height * width;
    for (int32_t y = 0; y < height; y++) {
        const uint8_t *row = source + (size_t)clamp(y - shift_y, height) * width * channels;
        for (int32_t x = 0; x < width; x++) {
            int32_t from = clamp(x - shift_x, width);
            if (flip) from = width - 1 - from;
            for (int32_t c = 0; c < channels; c++) {
                size_t to = planar ? c * plane + (size_t)y * width + x : ((size_t)y * width + x) * channels + c;
                target[to] = table[row[(size_t)from * channels + c]];
            }
        }
    }
}

void pfc_image_flip_rows(const float *source, float *target, size_t rows, size_t width, size_t channels) {
    for (size_t row = 0; row < rows; row++)
        for (size_t x = 0; x < width; x++)
            memcpy(
                target + (row * width + x) * channels, source + (row * width + width - 1 - x) * channels,
                channels * sizeof(float));
}

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t pfc_image_checksum(uint64_t previous, const void *bytes, size_t count) {
    const uint8_t *in = bytes;
    uint64_t lanes[4] = {previous, previous + 1, previous + 2, previous + 3};
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        uint64_t words[4];
        memcpy(words, in + i, 32);
        for (int k = 0; k < 4; k++) lanes[k] = (lanes[k] ^ words[k]) * 0x9FB21C651E98DF25u + (lanes[k] >> 29);
    }
    uint64_t tail[4] = {0, 0, 0, 0};
    memcpy(tail, in + i, count - i);
    uint64_t result = mix(count + 0x9E3779B97F4A7C15u);
    for (int k = 0; k < 4; k++) result = mix(result ^ mix(lanes[k] ^ tail[k]));
    return result;
}
