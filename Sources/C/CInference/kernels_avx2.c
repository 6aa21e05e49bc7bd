// AVX2 and FMA.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "lanes_avx2.h"
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

#define ROWS_4(name) PFI_TILES_2(name, 1) PFI_TILES_2(name, 2) PFI_TILES_2(name, 3) PFI_TILES_2(name, 4)
#define ROWS_6(name) ROWS_4(name) PFI_TILES_2(name, 5) PFI_TILES_2(name, 6)
#define TABLE_4(name) PFI_ROW_2(name, 1), PFI_ROW_2(name, 2), PFI_ROW_2(name, 3), PFI_ROW_2(name, 4)
#define TABLE_6(name) TABLE_4(name), PFI_ROW_2(name, 5), PFI_ROW_2(name, 6)

ROWS_4(seven_tile)
ROWS_6(eight_tile)
ROWS_6(singles_tile)
static const pfi_tile_function seven_tiles[][3] = {TABLE_4(seven_tile)};
static const pfi_tile_function eight_tiles[][3] = {TABLE_6(eight_tile)};
static const pfi_tile_function singles_tiles[][3] = {TABLE_6(singles_tile)};
#pragma clang attribute pop

const pfi_kernels pfi_kernels_avx2 = {
    .seven = {.layout = PFI_EIGHTS, .rows = 4, .lanes = 8, .vectors = 2, .chunk = 768, .tiles = seven_tiles},
    .eight = {.layout = PFI_PAIRS, .rows = 6, .lanes = 8, .vectors = 2, .chunk = 256, .tiles = eight_tiles, .widen = widen},
    .transformed = {.layout = PFI_PAIRS, .rows = 6, .lanes = 8, .vectors = 2, .chunk = 256, .tiles = eight_tiles, .widen = widen},
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .singles = {.layout = PFI_SINGLES, .rows = 6, .lanes = 8, .vectors = 2, .chunk = 256, .tiles = singles_tiles},
    .depthwise_seven =
        {.lanes = depthwise_channels, .pairs = 1, .packed_bytes = depthwise_seven_bytes, .pack = depthwise_seven_pack,
         .run = depthwise_seven_strip},
    .depthwise_eight =
        {.lanes = depthwise_channels, .pairs = 1, .packed_bytes = depthwise_eight_bytes, .pack = depthwise_eight_pack,
         .run = depthwise_eight_strip},
    .float_width = 32,
    .depthwise_singles = depthwise_singles,
    .rows = rows_alone,
};
#endif
