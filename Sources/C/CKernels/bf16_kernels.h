// The products of bf16.h, for one instruction set. Included with
//   PFC_NAME(name)                 what the functions are called,
//   PFC_TARGET                     attributes,
//   PFC_DOT(sum, a, b)             sum + a·b for 16 pairs,
//   PFC_ROW_BLOCK, PFC_BLOCK, PFC_VECTORS   rows of a block of products; rows and vectors of a block of the others: as many
//                                  as the registers hold.
// Every element is one chain of additions over the pairs: how they are blocked has no influence on the bits.

#define PFC_KERNEL static PFC_TARGET
#define PFC_PART static inline __attribute__((always_inline)) PFC_TARGET
#define PFC_UNROLL _Pragma("clang loop unroll(full)")

PFC_PART void PFC_NAME(products_block)(
    const uint32_t *features, ptrdiff_t lanes, const uint16_t *rows, ptrdiff_t size, float *products, const int rows_here,
    const int vectors) {
    floats sum[PFC_ROW_BLOCK][2];
    PFC_UNROLL for (int r = 0; r < rows_here; r++) PFC_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = (floats){0};
    for (ptrdiff_t k = 0; k < size / 2; k++) {
        words x[2];
        PFC_UNROLL for (int v = 0; v < vectors; v++) x[v] = load_words(features + k * lanes + v * 16);
        PFC_UNROLL for (int r = 0; r < rows_here; r++) {
            words w = broadcast(rows + r * size + 2 * k);
            PFC_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = PFC_DOT(sum[r][v], x[v], w);
        }
    }
    PFC_UNROLL for (int r = 0; r < rows_here; r++)
        PFC_UNROLL for (int v = 0; v < vectors; v++) store_floats(products + r * lanes + v * 16, sum[r][v]);
}

PFC_KERNEL void PFC_NAME(products)(
    const uint32_t *features, ptrdiff_t lanes, const uint16_t *rows, ptrdiff_t row_count, ptrdiff_t size,
    float *products) {
    for (ptrdiff_t lane = 0; lane < lanes; lane += 32) {
        const uint32_t *x = features + lane;
        float *out = products + lane;
        ptrdiff_t j = 0;
        if (lane + 16 < lanes) {
            for (; j + PFC_ROW_BLOCK <= row_count; j += PFC_ROW_BLOCK)
                PFC_NAME(products_block)(x, lanes, rows + j * size, size, out + j * lanes, PFC_ROW_BLOCK, 2);
            for (; j < row_count; j++) PFC_NAME(products_block)(x, lanes, rows + j * size, size, out + j * lanes, 1, 2);
        } else {
            for (; j + PFC_ROW_BLOCK <= row_count; j += PFC_ROW_BLOCK)
                PFC_NAME(products_block)(x, lanes, rows + j * size, size, out + j * lanes, PFC_ROW_BLOCK, 1);
            for (; j < row_count; j++) PFC_NAME(products_block)(x, lanes, rows + j * size, size, out + j * lanes, 1, 1);
        }
    }
}

/// sum[b][v] of a panel: coefficients of pair k at `coefficients` + k * stride, of row b one word (or `step` words) further.
PFC_PART void PFC_NAME(panel_sum)(
    floats sum[PFC_BLOCK][PFC_VECTORS], const uint32_t *coefficients, ptrdiff_t stride, ptrdiff_t step,
    const uint32_t *panel, ptrdiff_t width, ptrdiff_t pairs, const int rows_here, const int vectors) {
    PFC_UNROLL for (int b = 0; b < rows_here; b++)
        PFC_UNROLL for (int v = 0; v < vectors; v++) sum[b][v] = (floats){0};
    for (ptrdiff_t k = 0; k < pairs; k++) {
        words x[PFC_VECTORS];
        PFC_UNROLL for (int v = 0; v < vectors; v++) x[v] = load_words(panel + k * width + v * 16);
        PFC_UNROLL for (int b = 0; b < rows_here; b++) {
            words c = broadcast(coefficients + k * stride + b * step);
            PFC_UNROLL for (int v = 0; v < vectors; v++) sum[b][v] = PFC_DOT(sum[b][v], x[v], c);
        }
    }
}

PFC_PART void PFC_NAME(numerator_block)(
    const uint32_t *coefficients, ptrdiff_t lanes, const uint32_t *panel, ptrdiff_t width, ptrdiff_t pairs, ptrdiff_t size,
    float *out, const int samples_here, const int vectors) {
    floats sum[PFC_BLOCK][PFC_VECTORS];
    PFC_NAME(panel_sum)(sum, coefficients, lanes, 1, panel, width, pairs, samples_here, vectors);
    PFC_UNROLL for (int b = 0; b < samples_here; b++)
        PFC_UNROLL for (int v = 0; v < vectors; v++) store_floats(out + b * size + v * 16, sum[b][v]);
}

PFC_KERNEL void PFC_NAME(numerator)(
    const uint32_t *coefficients, ptrdiff_t lanes, const uint32_t *rows, ptrdiff_t pairs, ptrdiff_t size,
    ptrdiff_t samples, float *numerator) {
    for (ptrdiff_t column = 0; column < size; column += pfc_bf16_panel) {
        ptrdiff_t width = size - column < pfc_bf16_panel ? size - column : pfc_bf16_panel;
        const uint32_t *panel = rows + column * pairs;
        for (ptrdiff_t part = 0; part < width;) {
            const uint32_t *from = panel + part;
            float *out = numerator + column + part;
            int wide = width - part >= 16 * PFC_VECTORS;
            ptrdiff_t i = 0;
            if (wide) {
                for (; i + PFC_BLOCK <= samples; i += PFC_BLOCK)
                    PFC_NAME(numerator_block)(
                        coefficients + i, lanes, from, width, pairs, size, out + i * size, PFC_BLOCK, PFC_VECTORS);
                for (; i < samples; i++)
                    PFC_NAME(numerator_block)(
                        coefficients + i, lanes, from, width, pairs, size, out + i * size, 1, PFC_VECTORS);
            } else {
                for (; i < samples; i++)
                    PFC_NAME(numerator_block)(coefficients + i, lanes, from, width, pairs, size, out + i * size, 1, 1);
            }
            part += wide ? 16 * PFC_VECTORS : 16;
        }
    }
}

PFC_PART void PFC_NAME(gradient_block)(
    const pfc_bf16_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t row, ptrdiff_t column, ptrdiff_t panel_start,
    ptrdiff_t width, ptrdiff_t size, float *out, const int rows_here, const int vectors) {
    enum { levels = 48 };
    floats stack[levels][PFC_BLOCK][PFC_VECTORS];
    floats sum[PFC_BLOCK][PFC_VECTORS];
    for (ptrdiff_t m = 0; m < leaf_count; m++) {
        const pfc_bf16_leaf *leaf = leaves + m;
        ptrdiff_t pairs = leaf->lanes / 2;
        const uint16_t *p = leaf->probabilities + row * leaf->lanes;
        PFC_NAME(panel_sum)(
            sum, (const uint32_t *)(const void *)p, 1, pairs, leaf->features + panel_start * pairs + (column - panel_start),
            width, pairs, rows_here, vectors);
        for (ptrdiff_t t = 0; t < leaf->target_count; t++) {
            ptrdiff_t b = leaf->targets[t].row - row;
            if (b < 0 || b >= rows_here) continue;
            PFC_UNROLL for (int v = 0; v < vectors; v++) {
                floats x = load_floats(leaf->targets[t].direction + column + v * 16);
                PFC_UNROLL for (int k = 0; k < rows_here; k++)
                    if (k == b) sum[k][v] = sum[k][v] + x * leaf->targets[t].coefficient;
            }
        }
        // Complete subtrees are added as soon as their right half is there, as one counts in binary.
        int level = 0;
        for (; (m >> level) & 1; level++)
            PFC_UNROLL for (int b = 0; b < rows_here; b++)
                PFC_UNROLL for (int v = 0; v < vectors; v++) sum[b][v] = stack[level][b][v] + sum[b][v];
        // The last subtrees have no right half.
        if (m + 1 == leaf_count) {
            for (level++; leaf_count >> level; level++) {
                if (!((leaf_count >> level) & 1)) continue;
                PFC_UNROLL for (int b = 0; b < rows_here; b++)
                    PFC_UNROLL for (int v = 0; v < vectors; v++) sum[b][v] = stack[level][b][v] + sum[b][v];
            }
            break;
        }
        PFC_UNROLL for (int b = 0; b < rows_here; b++)
            PFC_UNROLL for (int v = 0; v < vectors; v++) stack[level][b][v] = sum[b][v];
    }
    PFC_UNROLL for (int b = 0; b < rows_here; b++)
        PFC_UNROLL for (int v = 0; v < vectors; v++) store_floats(out + b * size + v * 16, sum[b][v]);
}

PFC_KERNEL void PFC_NAME(row_gradient)(
    const pfc_bf16_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t row_count, ptrdiff_t size, float *gradient) {
    for (ptrdiff_t start = 0; start < size; start += pfc_bf16_panel) {
        ptrdiff_t width = size - start < pfc_bf16_panel ? size - start : pfc_bf16_panel;
        for (ptrdiff_t part = 0; part < width;) {
            ptrdiff_t column = start + part, j = 0;
            float *out = gradient + column;
            int wide = width - part >= 16 * PFC_VECTORS;
            if (wide) {
                for (; j + PFC_BLOCK <= row_count; j += PFC_BLOCK)
                    PFC_NAME(gradient_block)(
                        leaves, leaf_count, j, column, start, width, size, out + j * size, PFC_BLOCK, PFC_VECTORS);
                for (; j < row_count; j++)
                    PFC_NAME(gradient_block)(
                        leaves, leaf_count, j, column, start, width, size, out + j * size, 1, PFC_VECTORS);
            } else {
                for (; j < row_count; j++)
                    PFC_NAME(gradient_block)(leaves, leaf_count, j, column, start, width, size, out + j * size, 1, 1);
            }
            part += wide ? 16 * PFC_VECTORS : 16;
        }
    }
}

#undef PFC_KERNEL
#undef PFC_PART
#undef PFC_UNROLL
#undef PFC_NAME
#undef PFC_TARGET
#undef PFC_DOT
#undef PFC_ROW_BLOCK
#undef PFC_BLOCK
#undef PFC_VECTORS
