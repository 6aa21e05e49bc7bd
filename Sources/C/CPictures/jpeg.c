#include "pictures.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

struct pfc_jpeg {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    // Whether the header is behind.
    int is_open;
    int32_t largest_scans;
    int64_t largest_work;
    char message[JMSG_LENGTH_MAX];
};

static pfc_jpeg *of(j_common_ptr info) { return (pfc_jpeg *)info->client_data; }

static void leave(j_common_ptr info) {
    info->err->format_message(info, of(info)->message);
    longjmp(of(info)->escape, 1);
}

// Warnings after which pixels are not what was stored. Everything else that libjpeg remarks on (an unknown JFIF version or
// Adobe transform, odd scan parameters, bytes between markers) leaves them as they are, here as in every other reader.
static int is_damage(j_common_ptr info) {
    switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
        return 1;
    case JWRN_JPEG_EOF: {
        // A lonely scan that was read to its last pixel needs no end marker. Of several, the last ones would be missing;
        // arithmetic coding does not notice by itself that its data end.
        j_decompress_ptr jpeg = (j_decompress_ptr)info;
        return of(info)->is_open && (jpeg_has_multiple_scans(jpeg) || jpeg->arith_code);
    }
    default:
        return 0;
    }
}

static void emit(j_common_ptr info, int level) {
    if (level < 0 && is_damage(info)) leave(info);
}

static void say_nothing(j_common_ptr info) { (void)info; }

static void watch(j_common_ptr info) {
    j_decompress_ptr jpeg = (j_decompress_ptr)info;
    pfc_jpeg *self = of(info);
    int64_t pixels = (int64_t)jpeg->image_width * jpeg->image_height;
    if (jpeg->input_scan_number <= 1) return;
    if (jpeg->input_scan_number > self->largest_scans || pixels * jpeg->input_scan_number > self->largest_work) {
        snprintf(
            self->message, sizeof(self->message), "more than %d scans of %u x %u pixels",
            jpeg->input_scan_number - 1, jpeg->image_width, jpeg->image_height);
        longjmp(self->escape, 1);
    }
}

static void tell(const pfc_jpeg *self, pfc_picture_head *head) {
    snprintf(head->message, sizeof(head->message), "%s", self->message);
}

pfc_jpeg *pfc_jpeg_open(
    const uint8_t *bytes, size_t count, int32_t largest_scans, int64_t largest_work, pfc_picture_head *head) {
    pfc_jpeg *self = calloc(1, sizeof(*self));
    if (!self) {
        snprintf(head->message, sizeof(head->message), "out of memory");
        return NULL;
    }
    self->largest_scans = largest_scans;
    self->largest_work = largest_work;
    self->info.err = jpeg_std_error(&self->errors);
    self->info.client_data = self;
    self->errors.error_exit = leave;
    self->errors.emit_message = emit;
    self->errors.output_message = say_nothing;
    if (setjmp(self->escape)) {
        tell(self, head);
        pfc_jpeg_close(self);
        return NULL;
    }
    jpeg_create_decompress(&self->info);
    self->info.client_data = self;
    self->progress.progress_monitor = watch;
    self->info.progress = &self->progress;
    jpeg_mem_src(&self->info, bytes, count);
    jpeg_read_header(&self->info, TRUE);
    self->is_open = 1;
    head->width = (int32_t)self->info.image_width;
    head->height = (int32_t)self->info.image_height;
    J_COLOR_SPACE space = self->info.jpeg_color_space;
    head->channels = space == JCS_GRAYSCALE ? 1 : 3;
    head->reads_as_gray = space == JCS_GRAYSCALE || space == JCS_YCbCr || space == JCS_RGB;
    return self;
}

static uint8_t divide_by_255(uint32_t product) {
    product += 128;
    return (uint8_t)((product + (product >> 8)) >> 8);
}

// CMYK as every encoder in use stores it, inverted as Adobe does: 255 is no ink. Pillow's arithmetic.
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, uint32_t pixels) {
    for (uint32_t i = 0; i < pixels; i++, cmyk += 4, rgb += 3)
        for (int channel = 0; channel < 3; channel++)
            rgb[channel] = cmyk[3] - divide_by_255((255u - cmyk[channel]) * cmyk[3]);
}

int pfc_jpeg_read(pfc_jpeg *self, int32_t channels, uint8_t *pixels, pfc_picture_head *head) {
    j_decompress_ptr info = &self->info;
    // Volatile: changed between setjmp and longjmp.
    uint8_t *volatile row = NULL;
    if (setjmp(self->escape)) {
        free(row);
        tell(self, head);
        return -1;
    }
    int is_cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = is_cmyk ? JCS_CMYK : channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    // The exact integer transform: every processor gives the same pixels.
    info->dct_method = JDCT_ISLOW;
    if (is_cmyk && channels != 3) {
        snprintf(head->message, sizeof(head->message), "CMYK is read as RGB");
        return -1;
    }
    if (is_cmyk) {
        row = malloc((size_t)4 * info->image_width);
        if (!row) ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
    }
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        uint8_t *target = pixels + (size_t)info->output_scanline * info->output_width * channels;
        JSAMPROW rows[1] = {is_cmyk ? row : target};
        jpeg_read_scanlines(info, rows, 1);
        if (is_cmyk) cmyk_to_rgb(row, target, info->output_width);
    }
    free(row);
    // Not finished: what follows the last pixel does not matter.
    return 0;
}

void pfc_jpeg_close(pfc_jpeg *self) {
    if (!self) return;
    jpeg_destroy_decompress(&self->info);
    free(self);
}
