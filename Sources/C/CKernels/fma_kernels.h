// The kernels of fma.h, for one instruction set. Included with
//   PFC_NAME(name)          what the functions are called,
//   PFC_TARGET              attributes,
//   PFC_ROWS, PFC_VECTORS   numbers that are multiplied with one vector, a divisor of 12, and vectors of 16 lanes of a block: as
//                           many sums as the registers hold.

#define PFC_KERNEL static PFC_TARGET
#define PFC_PART static inline __attribute__((always_inline)) PFC_TARGET
#define PFC_UNROLL _Pragma("clang loop unroll(full)")

PFC_PART void PFC_NAME(clear)(floats sum[PFC_ROWS][PFC_VECTORS], const int vectors) {
    PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++)
        PFC_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = splat(0.0f);
}

/// sum[r][v] += numbers[r * step] · vectors[v * stride].
PFC_PART void PFC_NAME(add_products)(
    floats sum[PFC_ROWS][PFC_VECTORS], const float *vector, ptrdiff_t stride, const float *numbers, ptrdiff_t step,
    const int vectors) {
    floats x[PFC_VECTORS];
    PFC_UNROLL for (int v = 0; v < vectors; v++) x[v] = load_floats(vector + v * stride);
    PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++) {
        floats number = splat(numbers[r * step]);
        PFC_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = __builtin_elementwise_fma(x[v], number, sum[r][v]);
    }
}

PFC_PART void PFC_NAME(cosines_block)(
    const float *directions, const float *rows, ptrdiff_t padded, ptrdiff_t size, float *cosines, ptrdiff_t lanes,
    const int vectors) {
    floats sum[PFC_ROWS][PFC_VECTORS];
    PFC_NAME(clear)(sum, vectors);
    for (ptrdiff_t start = 0; start < size; start += pfc_fma_panel) {
        const float *panel = rows + start * padded, *x = directions + start * pfc_fma_lanes;
        ptrdiff_t width = size - start < pfc_fma_panel ? size - start : pfc_fma_panel;
        for (ptrdiff_t d = 0; d < width; d++)
            PFC_NAME(add_products)(
                sum, x + d * pfc_fma_lanes, pfc_fma_lanes * size, panel + d, pfc_fma_panel, vectors);
    }
    PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++)
        PFC_UNROLL for (int v = 0; v < vectors; v++)
            store_floats(cosines + r * lanes + v * pfc_fma_lanes, sum[r][v]);
}

PFC_KERNEL void PFC_NAME(cosines)(
    const float *directions, ptrdiff_t lanes, const float *rows, ptrdiff_t padded, ptrdiff_t size, float *cosines) {
    for (ptrdiff_t lane = 0; lane < lanes;) {
        int wide = lane + PFC_VECTORS * pfc_fma_lanes <= lanes;
        const float *x = directions + lane * size;
        for (ptrdiff_t j = 0; j < padded; j += PFC_ROWS) {
            const float *w = rows + j * pfc_fma_panel;
            float *out = cosines + j * lanes + lane;
            if (wide)
                PFC_NAME(cosines_block)(x, w, padded, size, out, lanes, PFC_VECTORS);
            else
                PFC_NAME(cosines_block)(x, w, padded, size, out, lanes, 1);
        }
        lane += (wide ? PFC_VECTORS : 1) * pfc_fma_lanes;
    }
}

PFC_PART void PFC_NAME(numerator_block)(
    const float *e, ptrdiff_t lanes, const float *rows, ptrdiff_t row_count, const float *kept, const float *added,
    float *out, ptrdiff_t stride, const int vectors) {
    floats sum[PFC_ROWS][PFC_VECTORS];
    PFC_NAME(clear)(sum, vectors);
    for (ptrdiff_t j = 0; j < row_count; j++)
        PFC_NAME(add_products)(sum, e + j * lanes, pfc_fma_lanes, rows + j * pfc_fma_panel, 1, vectors);
    PFC_UNROLL for (int v = 0; v < vectors; v++) {
        floats a = load_floats(kept + v * pfc_fma_lanes), b = load_floats(added + v * pfc_fma_lanes);
        PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++) {
            float *at = out + v * stride + r * pfc_fma_lanes;
            store_floats(at, __builtin_elementwise_fma(sum[r][v], b, a * load_floats(at)));
        }
    }
}

PFC_KERNEL void PFC_NAME(numerator)(
    const float *e, ptrdiff_t lanes, const float *rows, ptrdiff_t row_count, ptrdiff_t padded, ptrdiff_t size,
    const float *kept, const float *added, pfc_ahead *ahead, float *numerator) {
    ptrdiff_t whole = (size + pfc_fma_panel - 1) / pfc_fma_panel * pfc_fma_panel, stride = whole * pfc_fma_lanes;
    ptrdiff_t share = lines_per_block(ahead, whole / PFC_ROWS * (lanes / pfc_fma_lanes));
    for (ptrdiff_t lane = 0; lane < lanes;) {
        int wide = lane + PFC_VECTORS * pfc_fma_lanes <= lanes;
        for (ptrdiff_t d = 0; d < whole; d += PFC_ROWS) {
            const float *w = rows + d / pfc_fma_panel * padded * pfc_fma_panel + d % pfc_fma_panel;
            float *out = numerator + lane * whole + d * pfc_fma_lanes;
            if (wide)
                PFC_NAME(numerator_block)(
                    e + lane, lanes, w, row_count, kept + lane, added + lane, out, stride, PFC_VECTORS);
            else
                PFC_NAME(numerator_block)(e + lane, lanes, w, row_count, kept + lane, added + lane, out, stride, 1);
            ask_for(ahead, wide ? share * PFC_VECTORS : share);
        }
        lane += (wide ? PFC_VECTORS : 1) * pfc_fma_lanes;
    }
}

PFC_PART void PFC_NAME(gradient_block)(
    const pfc_fma_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t row,
    ptrdiff_t column, ptrdiff_t size, float *out, const int vectors) {
    enum { levels = 48 };
    floats stack[levels][PFC_ROWS][PFC_VECTORS];
    floats sum[PFC_ROWS][PFC_VECTORS];
    for (ptrdiff_t m = 0; m < leaf_count; m++) {
        const float *c = leaves[m].coefficients + row * lanes, *x = leaves[m].directions + column * samples;
        PFC_NAME(clear)(sum, vectors);
        for (ptrdiff_t i = 0; i < samples; i++)
            PFC_NAME(add_products)(sum, x + i * width, width * samples, c + i, lanes, vectors);
        // Complete subtrees are added as soon as their right half is there, as one counts in binary.
        int level = 0;
        for (; (m >> level) & 1; level++)
            PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++)
                PFC_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = stack[level][r][v] + sum[r][v];
        // The last subtrees have no right half.
        if (m + 1 == leaf_count) {
            for (level++; leaf_count >> level; level++) {
                if (!((leaf_count >> level) & 1)) continue;
                PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++)
                    PFC_UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = stack[level][r][v] + sum[r][v];
            }
            break;
        }
        PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++)
            PFC_UNROLL for (int v = 0; v < vectors; v++) stack[level][r][v] = sum[r][v];
    }
    PFC_UNROLL for (int r = 0; r < PFC_ROWS; r++)
        PFC_UNROLL for (int v = 0; v < vectors; v++) {
            float *at = out + r * size + v * width;
            ptrdiff_t left = size - column - v * width;
            floats whole = sum[r][v];
            if (left >= width)
                store_floats(at, whole);
            else
                __builtin_memcpy(at, &whole, (size_t)left * sizeof(float));
        }
}

PFC_KERNEL void PFC_NAME(row_gradient)(
    const pfc_fma_leaf *leaves, ptrdiff_t leaf_count, ptrdiff_t samples, ptrdiff_t lanes, ptrdiff_t padded,
    ptrdiff_t size, pfc_ahead *ahead, float *gradient) {
    ptrdiff_t share = lines_per_block(ahead, (size + width - 1) / width * (padded / PFC_ROWS));
    for (ptrdiff_t column = 0; column < size;) {
        int wide = column + PFC_VECTORS * width <= size;
        for (ptrdiff_t j = 0; j < padded; j += PFC_ROWS) {
            float *out = gradient + j * size + column;
            if (wide)
                PFC_NAME(gradient_block)(leaves, leaf_count, samples, lanes, j, column, size, out, PFC_VECTORS);
            else
                PFC_NAME(gradient_block)(leaves, leaf_count, samples, lanes, j, column, size, out, 1);
            ask_for(ahead, wide ? share * PFC_VECTORS : share);
        }
        column += (wide ? PFC_VECTORS : 1) * width;
    }
}

// MARK: softmax

/// exp(x): 0 below -87, saturated above 88, 1 at 0. The polynomial is that of Cephes' expf (Moshier); its error is below 2 units in
/// the last place.
PFC_PART floats PFC_NAME(exp)(floats x) {
    const floats magic = splat(0x1.8p23f);
    floats c = x < -87.0f ? splat(-87.0f) : x;
    c = c > 88.0f ? splat(88.0f) : c;
    floats shifted = __builtin_elementwise_fma(c, splat(1.44269504f), magic), n = shifted - magic;
    floats r = __builtin_elementwise_fma(n, splat(-0.693359375f), c);
    r = __builtin_elementwise_fma(n, splat(2.12194440e-4f), r);
    floats p = splat(1.9875691500e-4f);
    p = __builtin_elementwise_fma(p, r, splat(1.3981999507e-3f));
    p = __builtin_elementwise_fma(p, r, splat(8.3334519073e-3f));
    p = __builtin_elementwise_fma(p, r, splat(4.1665795894e-2f));
    p = __builtin_elementwise_fma(p, r, splat(1.6666665459e-1f));
    p = __builtin_elementwise_fma(p, r, splat(5.0000001201e-1f));
    p = __builtin_elementwise_fma(p, r * r, r) + 1.0f;
    // Times 2^n: the low bits of `shifted` go to the exponent.
    floats e = (floats)((words)p + ((words)shifted << 23));
    return x < -87.0f ? splat(0.0f) : e;
}

/// The logit of what counts in the softmax: a filtered class has cosine 0. A large negative number for what is left out.
PFC_PART floats PFC_NAME(logit)(const pfc_head_margin *margin, floats cosine) {
    floats z = cosine > margin->filter ? splat(0.0f) : cosine * (float)margin->scale;
    return cosine < left_out_below ? splat(-3e38f) : z;
}

PFC_KERNEL void PFC_NAME(softmax_tile)(
    const pfc_head_margin *margin, float *cosines, ptrdiff_t lanes, ptrdiff_t rows, float *maximum, float *sum,
    float *e) {
    for (ptrdiff_t lane = 0; lane < lanes; lane += pfc_fma_lanes) {
        floats top = splat(-3e38f), total = splat(0.0f);
        for (ptrdiff_t j = 0; j < rows; j++) {
            float *at = cosines + j * lanes + lane;
            floats c = load_floats(at);
            floats clamped = c > 1.0f ? splat(1.0f) : c;
            clamped = clamped < -1.0f ? splat(-1.0f) : clamped;
            c = c < left_out_below ? splat(left_out) : clamped;
            store_floats(at, c);
            floats z = PFC_NAME(logit)(margin, c);
            top = z > top ? z : top;
        }
        // Nothing but what is left out: no sum, and a maximum below every other.
        floats from = top < -1e38f ? splat(0.0f) : top;
        for (ptrdiff_t j = 0; j < rows; j++) {
            floats c = load_floats(cosines + j * lanes + lane);
            floats value = PFC_NAME(exp)(PFC_NAME(logit)(margin, c) - from);
            total += value;
            store_floats(e + j * lanes + lane, c > margin->filter ? splat(0.0f) : value);
        }
        store_floats(maximum + lane, top < -1e38f ? splat(-INFINITY) : top);
        store_floats(sum + lane, total);
    }
}

PFC_KERNEL void PFC_NAME(probabilities)(
    const pfc_head_margin *margin, const float *cosines, const double *log_z, ptrdiff_t samples, ptrdiff_t lanes,
    ptrdiff_t rows, ptrdiff_t padded, float *probabilities) {
    for (ptrdiff_t lane = 0; lane < lanes; lane += pfc_fma_lanes) {
        float normalizers[pfc_fma_lanes];
        // A lane without a sample has no probabilities.
        for (int k = 0; k < pfc_fma_lanes; k++)
            normalizers[k] = lane + k < samples ? (float)log_z[lane + k] : 3e38f;
        floats normalizer = load_floats(normalizers);
        for (ptrdiff_t j = 0; j < rows; j++) {
            floats c = load_floats(cosines + j * lanes + lane);
            floats p = PFC_NAME(exp)(PFC_NAME(logit)(margin, c) - normalizer);
            store_floats(probabilities + j * lanes + lane, c > margin->filter ? splat(0.0f) : p);
        }
        for (ptrdiff_t j = rows; j < padded; j++) store_floats(probabilities + j * lanes + lane, splat(0.0f));
    }
}

#undef PFC_NAME
#undef PFC_TARGET
#undef PFC_ROWS
#undef PFC_VECTORS
#undef PFC_KERNEL
#undef PFC_PART
#undef PFC_UNROLL
