// Plain C: what the other instruction sets must equal.
#include "kernels.h"
#include "lanes_portable.h"
#include "tiles.h"
#include "depthwise_plain.h"
#include "epilogue_body.h"
#include "singles_body.h"
#include "winograd_body.h"

// MARK: Products

PFI_INLINE void bytes_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    begin_words(t, first, sum, rows, vectors);
    const int8_t *w = t->weights;
    for (size_t tap = 0; tap < t->taps; tap++)
        for (size_t c = 0; c < t->length; c++, w += vectors)
            for (int r = 0; r < rows; r++) {
                const uint8_t *x = pfi_tap(t->base[first + (size_t)r], t->padding, t->offsets[first + (size_t)r][tap], 1);
                for (int v = 0; v < vectors; v++) sum[r][v] += x[c] * w[v];
            }
    end_words(t, first, sum, rows, vectors);
}

PFI_INLINE void pairs_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    begin_words(t, first, sum, rows, vectors);
    const int16_t *w = t->weights;
    for (size_t c = 0; c < t->length; c += 2, w += 2 * vectors)
        for (int r = 0; r < rows; r++) {
            const int16_t *x = (const int16_t *)(const void *)t->base[first + (size_t)r] + c;
            for (int v = 0; v < vectors; v++)
                sum[r][v] = add_words(add_words(sum[r][v], x[0] * w[2 * v]), x[1] * w[2 * v + 1]);
        }
    end_words(t, first, sum, rows, vectors);
}

PFI_TILES_4(bytes_tile, 1)
PFI_TILES_4(bytes_tile, 2)
PFI_TILES_4(pairs_tile, 1)
PFI_TILES_4(pairs_tile, 2)
PFI_TILES_4(singles_tile, 1)
PFI_TILES_4(singles_tile, 2)
static const pfi_tile_function bytes_tiles[][3] = {PFI_ROW_4(bytes_tile, 1), PFI_ROW_4(bytes_tile, 2)};
static const pfi_tile_function pairs_tiles[][3] = {PFI_ROW_4(pairs_tile, 1), PFI_ROW_4(pairs_tile, 2)};
static const pfi_tile_function singles_tiles[][3] = {PFI_ROW_4(singles_tile, 1), PFI_ROW_4(singles_tile, 2)};

// MARK: Depthwise convolutions

static void depthwise_strip(const pfi_strip *s) {
    const pfi_problem *p = s->p;
    const pfi_panel *panel = s->panel;
    for (size_t i = s->begin; i < s->end; i++) {
        size_t row = i % p->rows;
        const uint8_t *base = (const uint8_t *)s->x + i / p->rows * p->image_stride;
        if (!p->offsets) base += row * p->row_stride;
        int32_t sums[depthwise_channels];
        memcpy(sums, panel->correction, sizeof sums);
        const int8_t *w = s->weights;
        size_t group = pfi_width_of_group(p);
        for (size_t tap = 0; tap < p->taps; tap++) {
            const uint8_t *x = pfi_tap(base, s->padding, p->offsets ? p->offsets[row * p->taps + tap] : 0, 1);
            for (size_t g = 0; g < group; g++, w += depthwise_channels)
                for (size_t c = 0; c < panel->count; c++) sums[c] += x[panel->first + c - c % group + g] * w[c];
        }
        finish_row(panel, sums, NULL, i);
    }
}

#define PRODUCTS(l, t) {.layout = l, .rows = 2, .lanes = 1, .vectors = 4, .chunk = 4096, .tiles = t}
#define DEPTHWISE \
    {.lanes = depthwise_channels, .packed_bytes = depthwise_bytes, .pack = depthwise_pack, .run = depthwise_strip}

const pfi_kernels pfi_kernels_portable = {
    .seven = PRODUCTS(PFI_BYTES, bytes_tiles),
    .eight = PRODUCTS(PFI_BYTES, bytes_tiles),
    .transformed = PRODUCTS(PFI_PAIRS, pairs_tiles),
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .singles = PRODUCTS(PFI_SINGLES, singles_tiles),
    .depthwise_seven = DEPTHWISE,
    .depthwise_eight = DEPTHWISE,
    .float_width = 4,
    .depthwise_singles = depthwise_singles,
    .rows = rows_alone,
};
