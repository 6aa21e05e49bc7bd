#pragma once
// Functions for every size of tile, from one whose loops are unrolled for constant sizes.

#if defined(__clang__)
#define PFI_UNROLL _Pragma("clang loop unroll(full)")
#define PFI_TWICE _Pragma("clang loop unroll_count(2)")
#else
#define PFI_UNROLL _Pragma("GCC unroll 16")
#define PFI_TWICE _Pragma("GCC unroll 2")
#endif

#define PFI_TILE(name, rows, vectors) \
    static void name##_##rows##_##vectors(const pfi_tile *t) { \
        for (size_t i = 0; i < t->count; i++) name(t, i * (rows), rows, vectors); \
    }
#define PFI_TILES_2(name, rows) PFI_TILE(name, rows, 1) PFI_TILE(name, rows, 2)
#define PFI_TILES_4(name, rows) PFI_TILES_2(name, rows) PFI_TILE(name, rows, 4)
#define PFI_ROW_2(name, rows) {name##_##rows##_1, name##_##rows##_2}
#define PFI_ROW_4(name, rows) {name##_##rows##_1, name##_##rows##_2, name##_##rows##_4}
