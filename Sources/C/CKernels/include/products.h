#pragma once
// Products of rows of numbers, for those who compare class centers. Pointers need only the alignment of their element. Every
// result is the same bits on every CPU, however many rows are multiplied at once.
#include <stddef.h>

/// products[i * n + j] = <a_i, b_j> for rows a [m, size] and b [n, size].
void pfc_row_products(
    const float *a, ptrdiff_t m, const float *b, ptrdiff_t n, ptrdiff_t size, float *products);
