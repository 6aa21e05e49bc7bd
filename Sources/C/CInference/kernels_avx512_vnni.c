// AVX-512 with VNNI.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma"))), apply_to = function)
#include "lanes_avx512.h"
#include "tiles.h"
PFI_INLINE words dot(words sum, bytes u, bytes s) { return _mm512_dpbusd_epi32(sum, u, s); }
PFI_INLINE words add_pair_products(words sum, bytes a, bytes b) { return _mm512_dpwssd_epi32(sum, a, b); }
#include "epilogue_body.h"
#include "singles_body.h"
#include "winograd_body.h"
#include "dot_body.h"
#include "eight_body.h"
#include "depthwise_body.h"
#include "depthwise_dot_body.h"

#define ROWS(name) \
    PFI_TILES_4(name, 1) PFI_TILES_4(name, 2) PFI_TILES_4(name, 3) PFI_TILES_4(name, 4) PFI_TILES_4(name, 5) PFI_TILES_4(name, 6)
#define TABLE(name) \
    PFI_ROW_4(name, 1), PFI_ROW_4(name, 2), PFI_ROW_4(name, 3), PFI_ROW_4(name, 4), PFI_ROW_4(name, 5), PFI_ROW_4(name, 6)

ROWS(dot_tile)
ROWS(eight_tile)
ROWS(singles_tile)
static const pfi_tile_function dot_tiles[][3] = {TABLE(dot_tile)};
static const pfi_tile_function transformed_tiles[][3] = {TABLE(eight_tile)};
static const pfi_tile_function singles_tiles[][3] = {TABLE(singles_tile)};
#pragma clang attribute pop

#define BYTES {.layout = PFI_FOURS, .rows = 6, .lanes = 16, .vectors = 4, .chunk = 8192, .tiles = dot_tiles}
#define DEPTHWISE \
    {.lanes = depthwise_channels, .pairs = 1, .packed_bytes = depthwise_dot_bytes, .pack = depthwise_dot_pack, .run = depthwise_dot_strip}

const pfi_kernels pfi_kernels_avx512_vnni = {
    .seven = BYTES,
    .eight = BYTES,
    .transformed = {.layout = PFI_PAIRS, .rows = 6, .lanes = 16, .vectors = 4, .tiles = transformed_tiles},
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .singles = {.layout = PFI_SINGLES, .rows = 6, .lanes = 16, .vectors = 4, .tiles = singles_tiles},
    .depthwise_seven = DEPTHWISE,
    .depthwise_eight = DEPTHWISE,
    .float_width = 64,
    .depthwise_singles = depthwise_singles,
    .rows = rows_alone,
};
#endif
