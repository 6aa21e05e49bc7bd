#include "pictures.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

struct pfc_png {
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t left;
    char message[256];
};

static void fail(png_structp png, png_const_charp message) {
    pfc_png *self = png_get_error_ptr(png);
    snprintf(self->message, sizeof(self->message), "%s", message);
    png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void take(png_structp png, png_bytep target, size_t count) {
    pfc_png *self = png_get_io_ptr(png);
    if (count > self->left) png_error(png, "the file ends early");
    memcpy(target, self->bytes, count);
    self->bytes += count;
    self->left -= count;
}

static void tell(const pfc_png *self, pfc_picture_head *head) {
    snprintf(head->message, sizeof(head->message), "%s", self->message);
}

pfc_png *pfc_png_open(const uint8_t *bytes, size_t count, pfc_picture_head *head) {
    pfc_png *self = calloc(1, sizeof(*self));
    if (self) self->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, self, fail, ignore);
    if (self && self->png) self->info = png_create_info_struct(self->png);
    if (!self || !self->info) {
        snprintf(head->message, sizeof(head->message), "out of memory");
        pfc_png_close(self);
        return NULL;
    }
    self->bytes = bytes;
    self->left = count;
    if (setjmp(png_jmpbuf(self->png))) {
        tell(self, head);
        pfc_png_close(self);
        return NULL;
    }
    // What is odd in a chunk that no pixel depends on is not an error.
    png_set_benign_errors(self->png, 1);
    png_set_read_fn(self->png, self, take);
    png_read_info(self->png, self->info);
    head->width = (int32_t)png_get_image_width(self->png, self->info);
    head->height = (int32_t)png_get_image_height(self->png, self->info);
    head->channels = png_get_color_type(self->png, self->info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
    return self;
}

int pfc_png_read(pfc_png *self, uint8_t *pixels, pfc_picture_head *head) {
    png_bytep *volatile rows = NULL;
    if (setjmp(png_jmpbuf(self->png))) {
        free(rows);
        tell(self, head);
        return -1;
    }
    // The gamma of the file is not asked for: the samples stay as they are, as in Pillow and OpenCV.
    png_set_strip_16(self->png);
    if (png_get_color_type(self->png, self->info) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(self->png);
    else if (png_get_bit_depth(self->png, self->info) < 8) png_set_expand_gray_1_2_4_to_8(self->png);
    png_set_strip_alpha(self->png);
    png_set_interlace_handling(self->png);
    png_read_update_info(self->png, self->info);
    size_t width = (size_t)head->width * head->channels;
    if (png_get_rowbytes(self->png, self->info) != width) png_error(self->png, "rows of another width than expected");
    rows = malloc(sizeof(png_bytep) * (size_t)head->height);
    if (!rows) png_error(self->png, "out of memory");
    for (int32_t row = 0; row < head->height; row++) rows[row] = pixels + (size_t)row * width;
    png_read_image(self->png, rows);
    free(rows);
    // Not read to its end: what follows the last pixel does not matter.
    return 0;
}

void pfc_png_close(pfc_png *self) {
    if (!self) return;
    if (self->png) png_destroy_read_struct(&self->png, &self->info, NULL);
    free(self);
}
