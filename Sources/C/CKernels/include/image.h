#pragma once
#include <stddef.h>
#include <stdint.h>

/// Resizes an interleaved 8-bit image: area average where an axis shrinks, bilinear where it grows.
/// Integer arithmetic with 14-bit weights, so that every CPU gives the same pixels. Returns 0, or -1 when memory is short.
int pfc_image_resize(
    const uint8_t *source, int32_t source_height, int32_t source_width, int32_t channels, uint8_t *target,
    int32_t target_height, int32_t target_width);

/// Luma of interleaved RGB: (299 R + 587 G + 114 B + 500) / 1000.
void pfc_image_gray_from_rgb(const uint8_t *rgb, uint8_t *gray, size_t pixels);

/// Interleaved RGB from gray: the value three times.
void pfc_image_rgb_from_gray(const uint8_t *gray, uint8_t *rgb, size_t pixels);

/// Normalises an interleaved image to (x/255 - 0.5)/0.5, mirrored left to right if `flip`, then moved down by
/// `shift_y` and right by `shift_x` with its border repeated. Writes channels x height x width if `planar`,
/// height x width x channels otherwise.
void pfc_image_normalize(
    const uint8_t *source, int32_t height, int32_t width, int32_t channels, int32_t flip, int32_t shift_y,
    int32_t shift_x, int32_t planar, float *target);

/// Mirrors `rows` rows of `width` pixels of `channels` floats.
void pfc_image_flip_rows(const float *source, float *target, size_t rows, size_t width, size_t channels);

/// A 64-bit checksum of `count` bytes, continued from `previous`. Finds damage; does not resist an attacker.
uint64_t pfc_image_checksum(uint64_t previous, const void *bytes, size_t count);
