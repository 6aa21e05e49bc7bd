#pragma once
// What the portable drivers (convolve.c, depthwise.c) and the bodies for each instruction set tell each other.
//
// A *tile* is a few rows by a *panel* of outputs (up to four vectors of them), whose sums stay in registers. Weights are packed panel by panel,
// each in the order in which a tile reads them.
#include "inference.h"

#include <string.h>

enum {
    pfi_most_rows = 8,      // of a tile
    pfi_most_outputs = 64,  // of a panel
    pfi_most_sinks = 4,
};

/// How the weights of a panel of N outputs lie; k runs over taps, then channels, and is padded with zeros to whole groups.
typedef enum {
    /// [k / 4][N][4] bytes: VPDPBUSD.
    PFI_FOURS,
    /// The same, an even number of fours: VPMADDUBSW.
    PFI_EIGHTS,
    /// [k / 2][N][2] bytes, a multiple of four twos: SMLAL, SADALP.
    PFI_TWOS,
    /// [k / 2][N][2] int16: VPMADDWD.
    PFI_PAIRS,
    /// [k][N] bytes.
    PFI_BYTES,
    /// [k][N] floats.
    PFI_SINGLES,
} pfi_layout;

/// What of an epilogue concerns a panel. Every pointer can be read for the panel's whole width.
typedef struct {
    const pfi_epilogue *e;
    /// Outputs [first, first + count).
    size_t first, count;
    const int32_t *correction;
    const float *scale, *bias, *slopes[2], *factor[pfi_most_sinks], *summand[pfi_most_sinks];
    /// As many outputs as it is wide, codes and floats only: everything stays in registers.
    int is_whole;
    /// And nothing but scale, bias, the first activation and one sink of codes.
    int is_simple;
    /// Bytes of `zero` after the outputs, per sink: on the last panel only.
    size_t padding[pfi_most_sinks];
} pfi_panel;

/// Numbers of a panel that has fewer outputs than its width.
typedef struct {
    int32_t correction[pfi_most_outputs];
    float numbers[4 + 2 * pfi_most_sinks][pfi_most_outputs];
} __attribute__((aligned(64))) pfi_panel_storage;

/// The panel of outputs [first, first + width) of all `outputs`.
pfi_panel pfi_make_panel(
    const pfi_epilogue *e, const int32_t *correction, size_t first, size_t width, size_t outputs,
    pfi_panel_storage *storage);

/// Some tiles of equal size, one below the other.
typedef struct {
    /// Tiles.
    size_t count;
    /// Of each row: where its image (or its gathered operand) starts, and the offset of each tap in elements; a negative one means padding.
    const unsigned char *const *base;
    const int32_t *const *offsets;
    const unsigned char *padding;
    /// Taps, and elements that are read of each.
    size_t taps, length;
    const void *weights;
    /// Sums of earlier and for later chunks of k, [row][panel's width]; used as the two flags say. Without earlier ones, sums start with
    /// the correction.
    void *partial;
    int continues, is_last;
    const pfi_panel *panel;
    /// Of the first of its rows.
    size_t row;
} pfi_tile;

typedef void (*pfi_tile_function)(const pfi_tile *);

/// One kind of product on one instruction set.
typedef struct {
    pfi_layout layout;
    /// Rows of a tile, numbers of a vector, vectors of a panel at most.
    size_t rows, lanes, vectors;
    /// k of a chunk: its weights of one panel stay in the first cache. 0: no limit.
    size_t chunk;
    /// Of rows - 1 and vectors (1, 2, 4: the second index is 0, 1, 2).
    const pfi_tile_function (*tiles)[3];
    /// PFI_PAIRS: bytes to 16 bits.
    void (*widen)(const uint8_t *from, size_t count, uint16_t *to);
} pfi_products;

/// A run of consecutive rows of a depthwise convolution for one panel of channels.
typedef struct {
    const pfi_problem *p;
    const void *x, *padding, *weights;
    const pfi_panel *panel;
    /// Rows [begin, end) of images · rows.
    size_t begin, end;
} pfi_strip;

typedef struct {
    size_t lanes;  // channels of a panel
    /// Whether 3×3 windows of groups of two are computed as two depthwise ones: their weights lie one panel of the first, one of the second.
    int pairs;
    size_t (*packed_bytes)(size_t taps, size_t channels);
    void (*pack)(const int8_t *weights, size_t taps, size_t channels, void *packed);
    void (*run)(const pfi_strip *);
} pfi_depthwise;

/// Six by six transformed numbers of a tile for each channel or output: at number (6·i + j)·distance.
typedef struct {
    /// Of the pixels, in the order of lines; those outside the picture are padding.
    const uint8_t *pixels[36];
    size_t channels, distance;
    int16_t *to;
} pfi_winograd_input;

typedef struct {
    const int32_t *from;
    size_t distance, vectors;
    const pfi_panel *panel;
    /// Of the first output, between lines, and how many of the 4×4 there are.
    size_t row, line_rows, height, width;
} pfi_winograd_output;

typedef struct {
    pfi_products seven, eight, singles;
    /// PFI_PAIRS, for transformed operands.
    pfi_products transformed;
    void (*winograd_input)(const pfi_winograd_input *);
    void (*winograd_output)(const pfi_winograd_output *);
    pfi_depthwise depthwise_seven, depthwise_eight;
    /// Floats, and rows alone: panels of this many.
    size_t float_width;
    void (*depthwise_singles)(const pfi_strip *);
    void (*rows)(const pfi_panel *, const float *x, size_t stride, size_t begin, size_t end);
} pfi_kernels;

extern const pfi_kernels pfi_kernels_portable;
#if defined(__x86_64__)
extern const pfi_kernels pfi_kernels_avx2, pfi_kernels_avx512, pfi_kernels_avx512_vnni;
#endif
#if defined(__aarch64__)
extern const pfi_kernels pfi_kernels_neon;
#endif
const pfi_kernels *pfi_kernels_of(pfi_isa isa);

/// The products of bytes at 7 or 8 bits.
const pfi_products *pfi_products_of(pfi_isa isa, int bits);
/// k that a layout takes together.
size_t pfi_group_of(pfi_layout layout);
/// Bytes of `depth` weights (whole groups) for one output.
size_t pfi_bytes_of(pfi_layout layout, size_t depth);

/// The width of the panel that starts at output `first`.
static inline size_t pfi_width_at(const pfi_products *k, size_t first, size_t outputs) {
    size_t vectors = (outputs - first + k->lanes - 1) / k->lanes;
    if (vectors >= k->vectors) return k->vectors * k->lanes;
    return (vectors == 3 ? 4 : vectors) * k->lanes;
}

/// The next tiles of equal size, and their rows: the last two share what is left, so that neither is much smaller.
static inline size_t pfi_equal_tiles(size_t left, size_t most, size_t *rows) {
    if (left % most == 0 || left >= 2 * most) {
        *rows = most;
        return left % most == 0 ? left / most : left / most - 1;
    }
    *rows = left > most ? (left + 1) / 2 : left;
    return 1;
}

static inline size_t pfi_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static inline size_t pfi_smaller(size_t a, size_t b) { return a < b ? a : b; }

/// Channels that an output of a depthwise convolution reads of each tap.
static inline size_t pfi_width_of_group(const pfi_problem *p) { return p->group ? p->group : 1; }
/// Whether a depthwise convolution can be two of them.
static inline int pfi_is_pairs(size_t taps, size_t group) { return taps == 9 && group == 2; }

/// The tap of a row: its elements, or padding.
static inline const void *pfi_tap(const void *base, const void *padding, int32_t offset, size_t size) {
    return offset < 0 ? padding : (const unsigned char *)base + (size_t)offset * size;
}
