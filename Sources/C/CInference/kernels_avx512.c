// AVX-512 without VNNI.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#include "lanes_avx512.h"
#include "tiles.h"
PFI_INLINE words add_pair_products(words sum, bytes a, bytes b) { return add_words(sum, pair_products(a, b)); }
#include "epilogue_body.h"
#include "singles_body.h"
#include "winograd_body.h"
#include "seven_body.h"
#include "eight_body.h"
#include "widen_body.h"
#include "depthwise_body.h"
#include "depthwise_pairs_body.h"

#define ROWS(tiles, name) tiles(name, 1) tiles(name, 2) tiles(name, 3) tiles(name, 4) tiles(name, 5) tiles(name, 6)
#define TABLE(row, name) row(name, 1), row(name, 2), row(name, 3), row(name, 4), row(name, 5), row(name, 6)

ROWS(PFI_TILES_2, seven_tile)
ROWS(PFI_TILES_4, eight_tile)
ROWS(PFI_TILES_4, singles_tile)
static const pfi_tile_function seven_tiles[][3] = {TABLE(PFI_ROW_2, seven_tile)};
static const pfi_tile_function eight_tiles[][3] = {TABLE(PFI_ROW_4, eight_tile)};
static const pfi_tile_function singles_tiles[][3] = {TABLE(PFI_ROW_4, singles_tile)};
#pragma clang attribute pop

const pfi_kernels pfi_kernels_avx512 = {
    .seven = {.layout = PFI_EIGHTS, .rows = 6, .lanes = 16, .vectors = 2, .chunk = 768, .tiles = seven_tiles},
    .eight = {.layout = PFI_PAIRS, .rows = 6, .lanes = 16, .vectors = 4, .chunk = 256, .tiles = eight_tiles, .widen = widen},
    .transformed = {.layout = PFI_PAIRS, .rows = 6, .lanes = 16, .vectors = 4, .chunk = 256, .tiles = eight_tiles, .widen = widen},
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .singles = {.layout = PFI_SINGLES, .rows = 6, .lanes = 16, .vectors = 4, .tiles = singles_tiles},
    .depthwise_seven =
        {.lanes = depthwise_channels, .pairs = 1, .packed_bytes = depthwise_seven_bytes, .pack = depthwise_seven_pack,
         .run = depthwise_seven_strip},
    .depthwise_eight =
        {.lanes = depthwise_channels, .pairs = 1, .packed_bytes = depthwise_eight_bytes, .pack = depthwise_eight_pack,
         .run = depthwise_eight_strip},
    .float_width = 64,
    .depthwise_singles = depthwise_singles,
    .rows = rows_alone,
};
#endif
