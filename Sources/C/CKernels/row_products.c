// The products of products.h: one source, compiled for each instruction set. Every product is summed in sixteen lanes by fused
// multiply-adds, so that its bits depend neither on the set nor on the rows beside it.
#include "products.h"

typedef float floats __attribute__((vector_size(64)));
typedef floats floats_anywhere __attribute__((aligned(4), may_alias));

enum { LANES = 16 };

#define load(p) (*(const floats_anywhere *)(const void *)(p))

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/// Products of `rows` rows of a with `columns` rows of b at a time: so many sums as there are registers for.
static inline __attribute__((always_inline)) void row_products(
    const float *a, ptrdiff_t m, const float *b, ptrdiff_t n, ptrdiff_t size, float *products, const int rows,
    const int columns) {
    const ptrdiff_t whole = size / LANES * LANES;
    for (ptrdiff_t j = 0; j < n; j += columns)
        for (ptrdiff_t i = 0; i < m; i += rows) {
            // At the edges the last row stands for those that are missing, and is computed in vain.
            const float *x[4], *y[4];
            for (int r = 0; r < rows; r++) x[r] = a + smaller(i + r, m - 1) * size;
            for (int c = 0; c < columns; c++) y[c] = b + smaller(j + c, n - 1) * size;
            floats sums[4][4] = {{{0}}};
            for (ptrdiff_t d = 0; d < whole; d += LANES)
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < columns; c++)
                        sums[r][c] = __builtin_elementwise_fma(load(x[r] + d), load(y[c] + d), sums[r][c]);
            for (int r = 0; r < rows && i + r < m; r++)
                for (int c = 0; c < columns && j + c < n; c++) {
                    float sum = 0.0f;
                    for (int lane = 0; lane < LANES; lane++) sum += sums[r][c][lane];
                    for (ptrdiff_t d = whole; d < size; d++) sum = __builtin_fmaf(x[r][d], y[c][d], sum);
                    products[(i + r) * n + j + c] = sum;
                }
        }
}

#if defined(__x86_64__)
static __attribute__((target("avx512f,fma"))) void row_products_avx512f(
    const float *a, ptrdiff_t m, const float *b, ptrdiff_t n, ptrdiff_t size, float *products) {
    row_products(a, m, b, n, size, products, 4, 4);
}

static __attribute__((target("avx2,fma"))) void row_products_avx2(
    const float *a, ptrdiff_t m, const float *b, ptrdiff_t n, ptrdiff_t size, float *products) {
    row_products(a, m, b, n, size, products, 2, 3);
}
#endif

void pfc_row_products(
    const float *a, ptrdiff_t m, const float *b, ptrdiff_t n, ptrdiff_t size, float *products) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma"))
        return row_products_avx512f(a, m, b, n, size, products);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return row_products_avx2(a, m, b, n, size, products);
#endif
    row_products(a, m, b, n, size, products, 1, 1);
}
