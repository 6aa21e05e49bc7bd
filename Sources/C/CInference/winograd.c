// 3×3 convolutions by Winograd's F(4, 3) (Lavin and Gray, arXiv 1509.09308) in integers, exactly.
//
// Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A with G times 24 in integers; its last row times 12 only, which Aᵀ doubles, so that transformed
// weights fit 16 bits: |Bᵀ d B| <= 50·255, |G g Gᵀ| <= 144·127. Sums wrap modulo 2^32. What results is 576·y modulo 2^32; times
// the inverse of 9 modulo 2^26 that is 64·y modulo 2^32, hence y, if y is within ±2^25.
#include "kernels.h"

enum {
    positions = 36,
    most_tiles = 48,                 // of a block
    transformed_bytes = 512 * 1024,  // of a block's input
    /// Between positions: multiples of 4096 would share a few lines of the first cache.
    gap_bytes = 64,
};

static const int transform[6][3] = {{6, 0, 0}, {-4, -4, -4}, {-4, 4, -4}, {1, 2, 4}, {1, -2, 4}, {0, 0, 12}};

static const pfi_products *products(pfi_isa isa) { return &pfi_kernels_of(isa)->transformed; }

static size_t across(size_t pixels) { return (pixels + 3) / 4; }

size_t pfi_winograd_tiles(const pfi_picture *p) { return p->images * across(p->height) * across(p->width); }

size_t pfi_packed_bytes_winograd_s8(pfi_isa isa, size_t channels, size_t outputs) {
    if (channels % 16 != 0) return 0;
    size_t width = 0;
    for (size_t first = 0; first < outputs;) {
        size_t here = pfi_width_at(products(isa), first, outputs);
        width += here;
        first += here;
    }
    return width * channels * positions * sizeof(int16_t);
}

int pfi_pack_winograd_s8(
    pfi_isa isa, int bits, const int8_t *weights, size_t channels, size_t outputs, void *packed) {
    if (channels % 16 != 0) return 0;
    for (size_t n = 0; n < outputs; n++) {
        int64_t sums[2] = {0, 0}, most = bits <= 7 ? 127 : 255;
        for (size_t i = 0; i < 9 * channels; i++) {
            int8_t w = weights[n * 9 * channels + i];
            sums[w < 0] += w < 0 ? -w : w;
        }
        if (sums[0] * most >= 1 << 25 || sums[1] * most >= 1 << 25) return 0;
    }
    const pfi_products *k = products(isa);
    int16_t *out = packed;
    for (size_t first = 0; first < outputs;) {
        size_t width = pfi_width_at(k, first, outputs);
        for (size_t n = first; n < first + width; n++)
            for (size_t c = 0; c < channels; c++) {
                int half[6][3] = {{0}};
                const int8_t *w = weights + n * 9 * channels + c;
                if (n < outputs)
                    for (int i = 0; i < 6; i++)
                        for (int x = 0; x < 3; x++)
                            for (int y = 0; y < 3; y++) half[i][x] += transform[i][y] * w[(size_t)(3 * y + x) * channels];
                for (int i = 0; i < 6; i++)
                    for (int j = 0; j < 6; j++) {
                        int u = 0;
                        for (int x = 0; x < 3; x++) u += half[i][x] * transform[j][x];
                        // [position][channels / 2][width][2]
                        out[(size_t)(6 * i + j) * channels * width + c / 2 * width * 2 + (n - first) * 2 + c % 2] = (int16_t)u;
                    }
            }
        out += positions * channels * width;
        first += width;
    }
    return 1;
}

static size_t tiles_together(size_t channels) {
    size_t fit = transformed_bytes / (positions * sizeof(int16_t) * channels);
    return fit > most_tiles ? most_tiles : fit > 12 ? fit / 12 * 12 : 12;
}

size_t pfi_winograd_scratch_bytes(pfi_isa isa, size_t channels) {
    const pfi_products *k = products(isa);
    size_t tiles = tiles_together(channels);
    return positions * (tiles * (channels * sizeof(int16_t) + k->lanes * k->vectors * sizeof(int32_t)) + 2 * gap_bytes);
}

typedef struct {
    size_t image, line, column;  // of the first output
} place;

static place place_of(const pfi_picture *p, size_t tile) {
    size_t columns = across(p->width), of_image = across(p->height) * columns;
    return (place){tile / of_image, tile % of_image / columns * 4, tile % columns * 4};
}

/// Transforms the input of tiles [first, first + count): [position][tile][channel].
static void transform_input(
    const pfi_kernels *kernels, const pfi_picture *p, const uint8_t *x, const uint8_t *padding, size_t first,
    size_t count, size_t distance, int16_t *to) {
    for (size_t t = 0; t < count; t++) {
        place at = place_of(p, first + t);
        pfi_winograd_input input = {
            .channels = p->channels, .distance = distance, .to = to + t * p->channels};
        for (size_t i = 0; i < positions; i++) {
            // One more than the pixel's.
            size_t line = at.line + i / 6, column = at.column + i % 6;
            int is_inside = line >= 1 && line <= p->height && column >= 1 && column <= p->width;
            input.pixels[i] =
                is_inside ? x + at.image * p->image_stride + (line - 1) * p->line_stride + (column - 1) * p->pixel_stride
                          : padding;
        }
        kernels->winograd_input(&input);
    }
}

void pfi_winograd_u8s8(
    pfi_isa isa, const pfi_picture *p, const uint8_t *x, const uint8_t *padding, const void *packed,
    const int32_t *correction, const pfi_epilogue *e, void *scratch, size_t begin, size_t end) {
    const pfi_kernels *kernels = pfi_kernels_of(isa);
    const pfi_products *k = products(isa);
    size_t channels = p->channels, together = tiles_together(channels);
    int16_t *input = scratch;
    int32_t *output = (int32_t *)(void *)(input + positions * (together * channels + gap_bytes / sizeof *input));
    static const int32_t no_offsets[1];
    static const pfi_epilogue nothing;
    pfi_panel_storage unused, storage;
    pfi_panel zero = pfi_make_panel(&nothing, NULL, 0, k->lanes * k->vectors, k->lanes * k->vectors, &unused);
    for (size_t first_tile = begin; first_tile < end;) {
        size_t left = end - first_tile, blocks = (left + together - 1) / together, count = (left + blocks - 1) / blocks;
        size_t input_distance = count * channels + gap_bytes / sizeof *input;
        transform_input(kernels, p, x, padding, first_tile, count, input_distance, input);
        const int16_t *weights = packed;
        for (size_t first = 0; first < p->outputs;) {
            size_t width = pfi_width_at(k, first, p->outputs), vectors = width / k->lanes;
            size_t output_distance = count * width + gap_bytes / sizeof *output;
            for (size_t i = 0; i < positions; i++, weights += channels * width) {
                const unsigned char *base[most_tiles];
                const int32_t *offsets[most_tiles];
                for (size_t t = 0; t < count; t++) {
                    base[t] = (const unsigned char *)(input + i * input_distance + t * channels);
                    offsets[t] = no_offsets;
                }
                pfi_tile tile = {.taps = 1, .length = channels, .weights = weights, .panel = &zero};
                for (size_t row = 0; row < count;) {
                    size_t rows;
                    tile.count = pfi_equal_tiles(count - row, k->rows, &rows);
                    tile.base = base + row;
                    tile.offsets = offsets + row;
                    tile.partial = output + i * output_distance + row * width;
                    k->tiles[rows - 1][vectors >> 1](&tile);
                    row += tile.count * rows;
                }
            }
            pfi_panel panel = pfi_make_panel(e, correction, first, width, p->outputs, &storage);
            for (size_t t = 0; t < count; t++) {
                place at = place_of(p, first_tile + t);
                pfi_winograd_output o = {
                    .from = output + t * width, .distance = output_distance, .vectors = vectors, .panel = &panel,
                    .row = (at.image * p->height + at.line) * p->width + at.column, .line_rows = p->width,
                    .height = pfi_smaller(4, p->height - at.line), .width = pfi_smaller(4, p->width - at.column)};
                kernels->winograd_output(&o);
            }
            first += width;
        }
        first_tile += count;
    }
}
