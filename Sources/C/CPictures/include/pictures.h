#pragma once
#include <stddef.h>
#include <stdint.h>

// libjpeg and libpng report errors by leaving the function that called them (longjmp), which Swift code must not see:
// here is what stands between. A picture is opened, which tells its size before anything of that size is allocated, read
// once, and closed. `message` of the head says what was wrong when a function returns null or another number than 0.

/// What the head of a file says, and what was wrong with the file.
typedef struct {
    int32_t width;
    int32_t height;
    /// What the picture has by itself: 1 gray, 3 colour.
    int32_t channels;
    /// Whether the decoder can make gray of it; if not, RGB is asked for.
    int32_t reads_as_gray;
    char message[256];
} pfc_picture_head;

typedef struct pfc_jpeg pfc_jpeg;

/// Opens the JPEG file in `bytes`, which must stay until the picture is closed.
/// `largest_scans` is the number of scans that are read, `largest_work` that of pixels times scans: a progressive file may
/// go over all of its pixels again with every few bytes.
pfc_jpeg *pfc_jpeg_open(
    const uint8_t *bytes, size_t count, int32_t largest_scans, int64_t largest_work, pfc_picture_head *head);

/// Decodes to width * height * channels bytes, channels 1 (gray) or 3 (RGB). Returns 0, or -1 if the file is damaged: it
/// ends early, or its entropy-coded data are wrong. What libjpeg only remarks on counts as read.
int pfc_jpeg_read(pfc_jpeg *jpeg, int32_t channels, uint8_t *pixels, pfc_picture_head *head);

void pfc_jpeg_close(pfc_jpeg *jpeg);

typedef struct pfc_png pfc_png;

/// Opens the PNG file in `bytes`, which must stay until the picture is closed.
pfc_png *pfc_png_open(const uint8_t *bytes, size_t count, pfc_picture_head *head);

/// Decodes to width * height * head.channels bytes: the samples as they are stored, without gamma correction; of 16 bits
/// the upper 8; without the alpha channel. Returns 0, or -1 if the file is damaged.
int pfc_png_read(pfc_png *png, uint8_t *pixels, pfc_picture_head *head);

void pfc_png_close(pfc_png *png);
