// Convolutions as indirect matrix products: the loops around tiles.
#include "kernels.h"

enum {
    /// Rows whose gathered operand or unfinished sums are kept.
    block_rows = 64,
    /// Outputs whose unfinished sums are kept.
    block_outputs = 256,
    /// Bytes of gathered operands.
    gathered_bytes = 32768,
    /// Bytes of packed weights that stay in the second cache.
    cached_bytes = 512 * 1024,
};

// MARK: Blocks of rows, chunks of k, panels, tiles

/// Rows of a block: where each reads.
typedef struct {
    const unsigned char *base[block_rows];
    const int32_t *offsets[block_rows];
    size_t first, count;
} rows;

static const int32_t no_offset[1];

static void find_rows(rows *r, const pfi_problem *p, const unsigned char *x, size_t size, size_t first, size_t count) {
    size_t image = first / p->rows, row = first % p->rows;
    r->first = first;
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        r->base[i] = x + image * p->image_stride * size;
        if (p->offsets) {
            r->offsets[i] = p->offsets + row * p->taps;
        } else {
            r->base[i] += row * p->row_stride * size;
            r->offsets[i] = no_offset;
        }
        if (++row == p->rows) {
            row = 0;
            image++;
        }
    }
}

/// k [start, start + length) of every row, one after the other, padded with zeros to `stride`.
static void gather(
    const pfi_products *k, const pfi_problem *p, const rows *r, const uint8_t *padding, size_t start, size_t length,
    size_t stride, unsigned char *to) {
    size_t size = k->layout == PFI_PAIRS ? 2 : 1;
    for (size_t i = 0; i < r->count; i++, to += stride * size) {
        uint16_t *wide = (uint16_t *)(void *)to;
        size_t tap = start / p->channels, channel = start % p->channels, done = 0;
        if (p->channels == 4) {
            // A first layer: three colours and padding. If it is to be widened, it goes into the second half of the row before.
            uint8_t *bytes = to + (size - 1) * stride;
            for (; done < length; done += 4, tap++)
                memcpy(bytes + done, pfi_tap(r->base[i], padding, r->offsets[i][tap], 1), 4);
            if (size == 2) k->widen(bytes, length, wide);
        }
        for (; done < length; tap++, channel = 0) {
            size_t count = pfi_smaller(p->channels - channel, length - done);
            const uint8_t *from = (const uint8_t *)pfi_tap(r->base[i], padding, r->offsets[i][tap], 1) + channel;
            if (size == 2)
                k->widen(from, count, wide + done);
            else
                memcpy(to + done, from, count);
            done += count;
        }
        memset(to + length * size, 0, (stride - length) * size);
    }
}

/// What one chunk of k reads: whole taps, or a part of one, or a part of the gathered operand.
typedef struct {
    size_t start, length;                    // of k
    size_t tap, taps, channel, tap_length;  // of the problem, not gathered
} chunk;

static chunk chunk_at(const pfi_products *k, const pfi_problem *p, int gathers, size_t start) {
    size_t depth = p->taps * p->channels, most = k->chunk ? k->chunk : depth;
    chunk c = {.start = start};
    if (gathers || most >= depth) {
        c.length = pfi_smaller(most, depth - start);
        c.taps = p->taps;
        c.tap_length = p->channels;
        return c;
    }
    c.tap = start / p->channels;
    c.channel = start % p->channels;
    if (p->channels > most) {
        c.taps = 1;
        c.tap_length = c.length = pfi_smaller(most, p->channels - c.channel);
    } else {
        c.taps = pfi_smaller(most / p->channels, p->taps - c.tap);
        c.tap_length = p->channels;
        c.length = c.taps * p->channels;
    }
    return c;
}

typedef struct {
    const pfi_products *k;
    const pfi_problem *p;
    const unsigned char *padding, *packed;
    const int32_t *correction;
    const pfi_epilogue *e;
    size_t size;  // of an element
} call;

/// Outputs [from, to) of a block of rows.
static void run_block(const call *o, const rows *block, size_t from, size_t to) {
    const pfi_products *k = o->k;
    const pfi_problem *p = o->p;
    size_t depth = p->taps * p->channels, group = pfi_group_of(k->layout), all = pfi_round_up(depth, group);
    int gathers = k->layout == PFI_PAIRS || p->channels % group != 0;
    int32_t partial[block_rows * block_outputs] __attribute__((aligned(64)));
    unsigned char gathered[gathered_bytes] __attribute__((aligned(64)));
    const unsigned char *gathered_base[block_rows];
    const int32_t *gathered_offsets[block_rows], *offsets[block_rows];
    for (size_t start = 0; start < depth;) {
        chunk c = chunk_at(k, p, gathers, start);
        pfi_tile tile = {
            .padding = o->padding ? o->padding + c.channel * o->size : NULL, .taps = c.taps, .length = c.tap_length,
            .continues = start > 0, .is_last = start + c.length == depth};
        const unsigned char *const *base = block->base;
        const int32_t *const *tap_offsets = block->offsets;
        const unsigned char *moved[block_rows];
        if (gathers) {
            size_t stride = pfi_round_up(c.length, group), size = k->layout == PFI_PAIRS ? 2 : 1;
            gather(k, p, block, o->padding, c.start, c.length, stride, gathered);
            for (size_t i = 0; i < block->count; i++) {
                gathered_base[i] = gathered + i * stride * size;
                gathered_offsets[i] = no_offset;
            }
            base = gathered_base;
            tap_offsets = gathered_offsets;
            tile.taps = 1;
            tile.length = stride;
        } else if (c.tap || c.channel) {
            for (size_t i = 0; i < block->count; i++) {
                moved[i] = block->base[i] + c.channel * o->size;
                offsets[i] = block->offsets[i] + c.tap;
            }
            base = moved;
            tap_offsets = offsets;
        }
        for (size_t first = from; first < to;) {
            size_t width = pfi_width_at(k, first, p->outputs), vectors = width / k->lanes;
            pfi_panel_storage storage;
            pfi_panel panel = pfi_make_panel(
                o->e, o->correction, first, width, p->outputs, &storage);
            tile.panel = &panel;
            // Panels before this one are of full width.
            tile.weights = o->packed + first * pfi_bytes_of(k->layout, all) + width * pfi_bytes_of(k->layout, start);
            for (size_t row = 0; row < block->count;) {
                size_t count;
                tile.count = pfi_equal_tiles(block->count - row, k->rows, &count);
                tile.base = base + row;
                tile.offsets = tap_offsets + row;
                tile.partial = partial + (first - from) * block_rows + row * width;
                tile.row = block->first + row;
                k->tiles[count - 1][vectors >> 1](&tile);
                row += tile.count * count;
            }
            first += width;
        }
        start += c.length;
    }
}

static void convolve(const call *o, const void *x, size_t begin, size_t end) {
    const pfi_products *k = o->k;
    const pfi_problem *p = o->p;
    if (begin >= end || p->outputs == 0) return;
    size_t full = k->vectors * k->lanes, group = pfi_group_of(k->layout);
    size_t of_panel = full * pfi_bytes_of(k->layout, pfi_round_up(p->taps * p->channels, group));
    size_t panels = of_panel ? cached_bytes / of_panel : 1, most = block_outputs / full;
    panels = panels < 1 ? 1 : panels > most ? most : panels;
    size_t most_rows = block_rows / k->rows * k->rows;
    if (k->layout == PFI_PAIRS || p->channels % group != 0) {
        size_t depth = pfi_round_up(p->taps * p->channels, group), size = k->layout == PFI_PAIRS ? 2 : 1;
        size_t fit = gathered_bytes / (pfi_smaller(k->chunk, depth) * size);
        most_rows = pfi_smaller(most_rows, fit < 1 ? 1 : fit);
    }
    size_t blocks = (end - begin + most_rows - 1) / most_rows;
    size_t size = pfi_smaller(pfi_round_up((end - begin + blocks - 1) / blocks, k->rows), most_rows);
    for (size_t from = 0; from < p->outputs; from += panels * full) {
        size_t to = pfi_smaller(p->outputs, from + panels * full);
        for (size_t row = begin; row < end; row += size) {
            rows block;
            find_rows(&block, p, x, o->size, row, pfi_smaller(size, end - row));
            run_block(o, &block, from, to);
        }
    }
}

// MARK: The functions of inference.h

void pfi_convolve_u8s8(
    pfi_isa isa, int bits, const pfi_problem *p, const uint8_t *x, const uint8_t *padding, const void *packed,
    const int32_t *correction, const pfi_epilogue *e, size_t begin, size_t end) {
    call o = {
        .k = pfi_products_of(isa, bits), .p = p, .padding = padding, .packed = packed, .correction = correction, .e = e, .size = 1};
    convolve(&o, x, begin, end);
}

void pfi_convolve_f32(
    pfi_isa isa, const pfi_problem *p, const float *x, const float *padding, const void *packed, const pfi_epilogue *e,
    size_t begin, size_t end) {
    call o = {
        .k = &pfi_kernels_of(isa)->singles, .p = p, .padding = (const unsigned char *)padding, .packed = packed, .e = e,
        .size = 4};
    convolve(&o, x, begin, end);
}
