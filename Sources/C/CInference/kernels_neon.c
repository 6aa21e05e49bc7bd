// AArch64.
#include "kernels.h"

#if defined(__aarch64__)
#include "lanes_neon.h"
#include "tiles.h"
#include "depthwise_plain.h"
#include "epilogue_body.h"
#include "singles_body.h"
#include "winograd_body.h"
#include "widen_body.h"

// MARK: Seven bits
// Four products in a 16-bit sum (SMULL, SMLAL), of two channels side by side, which SADALP adds up.

PFI_INLINE void seven_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    begin_words(t, first, sum, rows, vectors);
    const int8_t *w = t->weights;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *x[pfi_most_rows];
        PFI_UNROLL for (int r = 0; r < rows; r++)
            x[r] = pfi_tap(t->base[first + (size_t)r], t->padding, t->offsets[first + (size_t)r][tap], 1);
        for (size_t c = 0; c < t->length; c += 8, w += 32 * vectors) {
            int8x8_t weights[4][4];
            PFI_UNROLL for (int i = 0; i < 4; i++)
                PFI_UNROLL for (int v = 0; v < vectors; v++) weights[i][v] = vld1_s8(w + (i * vectors + v) * 8);
            PFI_UNROLL for (int r = 0; r < rows; r++) {
                int8x8_t pairs[4];
                PFI_UNROLL for (int i = 0; i < 4; i++) {
                    int16_t pair;
                    memcpy(&pair, x[r] + c + 2 * i, 2);
                    pairs[i] = vreinterpret_s8_s16(vdup_n_s16(pair));
                }
                PFI_UNROLL for (int v = 0; v < vectors; v++) {
                    int16x8_t half = vmull_s8(pairs[0], weights[0][v]);
                    PFI_UNROLL for (int i = 1; i < 4; i++) half = vmlal_s8(half, pairs[i], weights[i][v]);
                    sum[r][v] = vpadalq_s16(sum[r][v], half);
                }
            }
        }
    }
    end_words(t, first, sum, rows, vectors);
}

// MARK: Eight bits
// Both operands in 16 bits. Two channels side by side, in sums of their own until the end.

PFI_INLINE void eight_tile(const pfi_tile *t, size_t first, const int rows, const int vectors) {
    words sum[pfi_most_rows][4];
    int32x4_t low[pfi_most_rows][4], high[pfi_most_rows][4];
    begin_words(t, first, sum, rows, vectors);
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++) low[r][v] = high[r][v] = no_words();
    const int16_t *w = t->weights;
    for (size_t c = 0; c < t->length; c += 2, w += 8 * vectors) {
        int16x8_t weights[4];
        PFI_UNROLL for (int v = 0; v < vectors; v++) weights[v] = vld1q_s16(w + 8 * v);
        PFI_UNROLL for (int r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, t->base[first + (size_t)r] + 2 * c, 4);
            int16x8_t x = vreinterpretq_s16_s32(vdupq_n_s32(pair));
            PFI_UNROLL for (int v = 0; v < vectors; v++) {
                low[r][v] = vmlal_s16(low[r][v], vget_low_s16(x), vget_low_s16(weights[v]));
                high[r][v] = vmlal_high_s16(high[r][v], x, weights[v]);
            }
        }
    }
    PFI_UNROLL for (int r = 0; r < rows; r++)
        PFI_UNROLL for (int v = 0; v < vectors; v++)
            sum[r][v] = vaddq_s32(sum[r][v], vpaddq_s32(low[r][v], high[r][v]));
    end_words(t, first, sum, rows, vectors);
}

// MARK: Depthwise convolutions

PFI_INLINE void depthwise_strip(const pfi_strip *s, const int bits) {
    const pfi_problem *p = s->p;
    const pfi_panel *panel = s->panel;
    const size_t group = pfi_width_of_group(p);
    // Of each channel, the first of its group.
    uint8_t firsts[depthwise_channels];
    for (size_t c = 0; c < depthwise_channels; c++) firsts[c] = (uint8_t)(c - c % group);
    const uint8x16_t first = vld1q_u8(firsts);
    for (size_t i = s->begin; i < s->end; i++) {
        size_t row = i % p->rows;
        const uint8_t *base = (const uint8_t *)s->x + i / p->rows * p->image_stride;
        if (!p->offsets) base += row * p->row_stride;
        words sum[1][4];
        PFI_UNROLL for (int v = 0; v < 4; v++) sum[0][v] = load_words(panel->correction + 4 * v);
        const int8_t *w = s->weights;
        // Four products of seven bits fit a 16-bit sum.
        for (size_t t = 0; t < p->taps * group;) {
            int16x8_t half[2] = {vdupq_n_s16(0), vdupq_n_s16(0)};
            for (int together = 0; together < 4 && t < p->taps * group; together++, t++, w += depthwise_channels) {
                const size_t tap = t / group;
                const uint8_t *x = pfi_tap(base, s->padding, p->offsets ? p->offsets[row * p->taps + tap] : 0, 1);
                uint8_t some[depthwise_channels] = {0};
                if (panel->count < depthwise_channels) memcpy(some, x + panel->first, panel->count);
                uint8x16_t codes = vld1q_u8(panel->count < depthwise_channels ? some : x + panel->first);
                if (group > 1) codes = vqtbl1q_u8(codes, vaddq_u8(first, vdupq_n_u8((uint8_t)(t % group))));
                int8x16_t weights = vld1q_s8(w);
                if (bits == 7) {
                    half[0] = vmlal_s8(half[0], vreinterpret_s8_u8(vget_low_u8(codes)), vget_low_s8(weights));
                    half[1] = vmlal_high_s8(half[1], vreinterpretq_s8_u8(codes), weights);
                } else {
                    int16x8_t a[2] = {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes))), vreinterpretq_s16_u16(vmovl_high_u8(codes))};
                    int16x8_t b[2] = {vmovl_s8(vget_low_s8(weights)), vmovl_high_s8(weights)};
                    PFI_UNROLL for (int h = 0; h < 2; h++) {
                        sum[0][2 * h] = vmlal_s16(sum[0][2 * h], vget_low_s16(a[h]), vget_low_s16(b[h]));
                        sum[0][2 * h + 1] = vmlal_high_s16(sum[0][2 * h + 1], a[h], b[h]);
                    }
                }
            }
            if (bits == 7)
                PFI_UNROLL for (int h = 0; h < 2; h++) {
                    sum[0][2 * h] = vaddw_s16(sum[0][2 * h], vget_low_s16(half[h]));
                    sum[0][2 * h + 1] = vaddw_high_s16(sum[0][2 * h + 1], half[h]);
                }
        }
        finish_words(panel, sum, 1, 4, i);
    }
}

static void depthwise_seven_strip(const pfi_strip *s) { depthwise_strip(s, 7); }
static void depthwise_eight_strip(const pfi_strip *s) { depthwise_strip(s, 8); }

// MARK: All of them

#define ROWS_2(name) PFI_TILES_4(name, 1) PFI_TILES_4(name, 2)
#define ROWS_4(name) ROWS_2(name) PFI_TILES_4(name, 3) PFI_TILES_4(name, 4)
#define TABLE_2(name) PFI_ROW_4(name, 1), PFI_ROW_4(name, 2)
#define TABLE_4(name) TABLE_2(name), PFI_ROW_4(name, 3), PFI_ROW_4(name, 4)

ROWS_2(seven_tile)
ROWS_2(eight_tile)
ROWS_4(singles_tile)
static const pfi_tile_function seven_tiles[][3] = {TABLE_2(seven_tile)};
static const pfi_tile_function eight_tiles[][3] = {TABLE_2(eight_tile)};
static const pfi_tile_function singles_tiles[][3] = {TABLE_4(singles_tile)};

const pfi_kernels pfi_kernels_neon = {
    .seven = {.layout = PFI_TWOS, .rows = 2, .lanes = 4, .vectors = 4, .chunk = 768, .tiles = seven_tiles},
    .eight = {.layout = PFI_PAIRS, .rows = 2, .lanes = 4, .vectors = 4, .chunk = 256, .tiles = eight_tiles, .widen = widen},
    .transformed = {.layout = PFI_PAIRS, .rows = 2, .lanes = 4, .vectors = 4, .chunk = 256, .tiles = eight_tiles, .widen = widen},
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .singles = {.layout = PFI_SINGLES, .rows = 4, .lanes = 4, .vectors = 4, .chunk = 256, .tiles = singles_tiles},
    .depthwise_seven =
        {.lanes = depthwise_channels, .packed_bytes = depthwise_bytes, .pack = depthwise_pack, .run = depthwise_seven_strip},
    .depthwise_eight =
        {.lanes = depthwise_channels, .packed_bytes = depthwise_bytes, .pack = depthwise_pack, .run = depthwise_eight_strip},
    .float_width = 16,
    .depthwise_singles = depthwise_singles,
    .rows = rows_alone,
};
#endif
