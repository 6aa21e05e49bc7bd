#pragma once
#include <png.h>

// The format macros of libpng's simplified interface are casts, which are not imported as constants.
static const png_uint_32 pfc_png_gray = PNG_FORMAT_GRAY;
static const png_uint_32 pfc_png_rgb = PNG_FORMAT_RGB;
static const png_uint_32 pfc_png_flag_color = PNG_FORMAT_FLAG_COLOR;
static const png_uint_32 pfc_png_flag_linear = PNG_FORMAT_FLAG_LINEAR;
static const png_uint_32 pfc_png_version = PNG_IMAGE_VERSION;

/// Whether libpng found an error (warnings do not count).
static inline int pfc_png_failed(const png_image *image) { return PNG_IMAGE_FAILED(*image) != 0; }
