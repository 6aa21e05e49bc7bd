// Every kernel of inference on every instruction set of this processor against a plain loop, bit for bit: random and extreme operands.
// scripts/test-neon compiles it for AArch64. usage: compare [cases]
#include "inference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// MARK: Random numbers

static uint64_t state = 1;
static uint64_t next(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static size_t below(size_t n) { return (size_t)(next() % n); }
static int one_in(size_t n) { return below(n) == 0; }
static size_t between(size_t a, size_t b) { return a + below(b - a + 1); }
static float real(float size) { return ((float)below(2000001) - 1000000.0f) * 1e-6f * size; }

// MARK: A case

enum { most_sinks = 4 };
typedef enum { CONVOLVE, WINOGRAD, DEPTHWISE, GROUPED, ROWS } operation;

typedef struct {
    operation operation;
    int bits;  // 32: floats
    pfi_problem p;
    pfi_picture picture;
    size_t begin, end, pixels;  // of rows; WINOGRAD: of tiles
    int32_t *offsets;
    uint8_t *codes, *code_padding;
    float *numbers, *number_padding;
    int8_t *weights;
    float *number_weights;
    int32_t *correction;
    pfi_epilogue e;
    float *parameters[4 + 2 * most_sinks];
    float *residual;
    unsigned char *sinks[2][most_sinks];  // expected, found
    size_t sink_bytes[most_sinks];
} test_case;

static void *room(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    if (!p) abort();
    return p;
}

static float *reals(size_t count, float size, int odd) {
    float *p = room(count * sizeof *p);
    for (size_t i = 0; i < count; i++) {
        p[i] = real(size);
        if (odd && one_in(29)) p[i] = one_in(3) ? NAN : one_in(2) ? INFINITY : -INFINITY;
        if (one_in(31)) p[i] = one_in(2) ? 0.0f : -0.0f;
    }
    return p;
}

/// Codes: random, all at an end, alternating.
static uint8_t *some_codes(size_t count, int most) {
    uint8_t *p = room(count);
    size_t kind = below(5);
    for (size_t i = 0; i < count; i++)
        p[i] = (uint8_t)(kind == 1 ? most : kind == 2 ? 0 : kind == 3 ? (i % 2 ? most : 0) : (int)below((size_t)most + 1));
    return p;
}

static int8_t *some_weights(size_t count, int most) {
    int8_t *p = room(count);
    size_t kind = below(6);
    for (size_t i = 0; i < count; i++)
        p[i] = (int8_t)(
            kind == 1   ? most
            : kind == 2 ? -most
            : kind == 3 ? (i % 2 ? most : -most)
            : kind == 4 ? (i / 2 % 2 ? most : -most)
                        : (int)below(2 * (size_t)most + 1) - most);
    return p;
}

static pfi_activation some_activation(float *slopes) {
    pfi_activation a = {PFI_NONE, NULL, 0, 0};
    size_t kind = below(4);
    if (kind == 1) {
        a.kind = PFI_PRELU;
        a.slope = slopes;
    } else if (kind == 2) {
        a.kind = PFI_CLIP;
        a.high = one_in(2) ? INFINITY : 6;
    }
    return a;
}

static size_t group_of(const pfi_problem *p) { return p->group ? p->group : 1; }

static test_case make_case(operation operation, int bits) {
    test_case c;
    memset(&c, 0, sizeof c);
    c.operation = operation;
    c.bits = bits;
    pfi_problem *p = &c.p;
    p->images = between(1, 3);
    p->rows = one_in(4) ? between(1, 200) : between(1, 40);
    p->taps = one_in(2) ? 1 : one_in(2) ? 9 : one_in(8) ? 49 : between(1, 12);
    p->outputs = one_in(2) ? 16 * between(1, 9) : one_in(3) ? 64 * between(1, 5) : between(1, 150);
    p->channels = one_in(2) ? 16 * between(1, 8) : between(1, 40);
    if (operation == CONVOLVE && one_in(12)) {
        p->channels = between(300, 2100);
        p->outputs = between(1, 40);
        p->rows = between(1, 20);
    }
    if (one_in(8)) p->channels = 4;
    if (operation == CONVOLVE && bits < 32) p->channels = (p->channels + 3) / 4 * 4;
    if (operation == WINOGRAD) {
        p->taps = 9;
        p->channels = 16 * between(1, one_in(9) ? 40 : 6);
    } else if (operation != CONVOLVE) {
        p->channels = p->outputs;
    }
    if (operation == GROUPED) {
        p->group = (size_t)1 << between(1, 3);
        p->channels = p->outputs = (p->outputs + p->group - 1) / p->group * p->group;
    }
    if (operation == ROWS) {
        p->taps = 1;
        p->images = 1;
    }
    // Images of pixels; the last one ends the memory.
    int is_indirect = operation != ROWS && (p->taps > 1 || one_in(3));
    size_t pixel = p->channels + (one_in(3) ? below(9) : 0);
    c.pixels = is_indirect ? between(1, 30) : p->rows;
    p->row_stride = pixel;
    p->image_stride = c.pixels * pixel;
    size_t elements = p->images * p->image_stride - (pixel - p->channels);
    int has_padding = one_in(2);
    if (operation == WINOGRAD || (is_indirect && p->taps == 9 && one_in(2))) {
        // A picture, with a border of one.
        size_t stride = operation == WINOGRAD ? 1 : between(1, 2), width = between(1, 12), height = between(1, 12);
        size_t across = (width - 1) / stride + 1, down = (height - 1) / stride + 1;
        has_padding = 1;
        p->rows = across * down;
        p->image_stride = width * height * pixel;
        elements = p->images * p->image_stride - (pixel - p->channels);
        c.offsets = room(p->rows * 9 * sizeof *c.offsets);
        p->offsets = c.offsets;
        c.picture = (pfi_picture){
            .images = p->images, .height = height, .width = width, .channels = p->channels, .outputs = p->outputs,
            .image_stride = p->image_stride, .line_stride = width * pixel, .pixel_stride = pixel};
        for (size_t i = 0; i < p->rows * 9; i++) {
            size_t y = i / 9 / across * stride + i % 9 / 3, x = i / 9 % across * stride + i % 3;  // plus 1
            int inside = y >= 1 && x >= 1 && y <= height && x <= width;
            c.offsets[i] = inside ? (int32_t)(((y - 1) * width + x - 1) * pixel) : -1;
        }
    } else if (is_indirect) {
        c.offsets = room(p->rows * p->taps * sizeof *c.offsets);
        for (size_t i = 0; i < p->rows * p->taps; i++)
            c.offsets[i] = has_padding && one_in(4) ? -1 - (int32_t)below(2) : (int32_t)(below(c.pixels) * pixel);
        p->offsets = c.offsets;
    }
    size_t weight_count = operation == DEPTHWISE || operation == GROUPED ? p->taps * group_of(p) * p->outputs : p->outputs * p->taps * p->channels;
    int odd = one_in(4);
    if (bits == 32) {
        c.numbers = reals(elements, 3, odd && operation == ROWS);
        c.number_padding = has_padding ? reals(p->channels, 1, 0) : NULL;
        c.number_weights = reals(weight_count, 1, 0);
    } else {
        int most = bits == 8 ? 255 : 127;
        c.codes = some_codes(elements, most);
        c.code_padding = has_padding ? some_codes(p->channels, most) : NULL;
        c.weights = some_weights(weight_count, bits == 8 ? 127 : 63);
        c.correction = room(p->outputs * sizeof *c.correction);
        for (size_t n = 0; n < p->outputs; n++) c.correction[n] = (int32_t)below(2000001) - 1000000;
    }
    size_t all = p->images * p->rows, units = operation == WINOGRAD ? pfi_winograd_tiles(&c.picture) : all;
    c.begin = one_in(2) ? 0 : below(units);
    c.end = one_in(2) ? units : between(c.begin, units);
    // The epilogue, simple in half of the cases.
    float unit = bits == 32 ? 1 : 1e-4f;
    int simple = one_in(2);
    for (int i = 0; i < 4 + 2 * most_sinks; i++) c.parameters[i] = reals(p->outputs, i == 0 ? unit : 2, odd);
    c.e.scale = one_in(6) && bits == 32 ? NULL : c.parameters[0];
    c.e.bias = one_in(4) ? NULL : c.parameters[1];
    c.e.first = some_activation(c.parameters[2]);
    if (!simple) {
        if (one_in(2)) {
            c.e.residual_stride = p->outputs + below(5);
            c.residual = reals(all * c.e.residual_stride - (c.e.residual_stride - p->outputs), 3, odd);
            c.e.residual = c.residual;
        }
        c.e.second = some_activation(c.parameters[3]);
    }
    c.e.sink_count = simple ? 1 : between(1, most_sinks);
    for (size_t s = 0; s < c.e.sink_count; s++) {
        pfi_sink *sink = &c.e.sinks[s];
        size_t kind = below(bits == 32 ? 2 : simple ? 2 : 3);
        sink->kind = kind == 0 ? PFI_CODES : kind == 1 ? PFI_FLOATS : PFI_SUMS;
        size_t width = p->outputs;
        if (sink->kind == PFI_CODES && one_in(2)) width = sink->padded = (p->outputs + 3) / 4 * 4;
        sink->stride = width + (one_in(3) ? below(7) : 0);
        if (!simple && one_in(3)) {
            sink->factor = c.parameters[4 + 2 * s];
            sink->summand = c.parameters[5 + 2 * s];
        }
        sink->scale = one_in(2) ? 20 : 60;
        sink->zero = one_in(3) ? 0 : one_in(2) ? 128 : (int32_t)below(128);
        int most = one_in(2) ? 127 : 255;
        if (sink->zero > most) most = 255;
        sink->low = (float)(one_in(3) && sink->zero >= 64 ? 64 - sink->zero : -sink->zero);
        sink->high = (float)(most - sink->zero);
        size_t size = sink->kind == PFI_CODES ? 1 : 4;
        c.sink_bytes[s] = (all * sink->stride - (sink->stride - width)) * size;
        for (int i = 0; i < 2; i++) {
            c.sinks[i][s] = room(c.sink_bytes[s]);
            memset(c.sinks[i][s], 0xa5, c.sink_bytes[s]);
        }
    }
    return c;
}

static void free_case(test_case *c) {
    void *all[] = {c->offsets, c->codes, c->code_padding, c->numbers, c->number_padding, c->weights, c->number_weights,
                   c->correction, c->residual};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    for (int i = 0; i < 4 + 2 * most_sinks; i++) free(c->parameters[i]);
    for (int i = 0; i < 2; i++)
        for (int s = 0; s < most_sinks; s++) free(c->sinks[i][s]);
}

// MARK: The plain loop

static float plain_activation(float y, const pfi_activation *a, size_t n) {
    if (a->kind == PFI_PRELU) return y > 0 ? y : y * a->slope[n];
    if (a->kind == PFI_CLIP) {
        float t = y > a->low ? y : a->low;
        return t < a->high ? t : a->high;
    }
    return y;
}

static void plain_epilogue(const test_case *c, size_t row, size_t n, int32_t sum, float number) {
    const pfi_epilogue *e = &c->e;
    float y = c->bits == 32 ? number : (float)sum;
    if (e->scale) y = y * e->scale[n];
    if (e->bias) y = y + e->bias[n];
    y = plain_activation(y, &e->first, n);
    if (e->residual) y = y + e->residual[row * e->residual_stride + n];
    y = plain_activation(y, &e->second, n);
    for (size_t s = 0; s < e->sink_count; s++) {
        const pfi_sink *sink = &e->sinks[s];
        size_t at = row * sink->stride + n;
        float v = y;
        if (sink->factor) {
            v = v * sink->factor[n];
            v = v + sink->summand[n];
        }
        if (sink->kind == PFI_SUMS) {
            memcpy(c->sinks[0][s] + at * 4, &sum, 4);
        } else if (sink->kind == PFI_FLOATS) {
            memcpy(c->sinks[0][s] + at * 4, &v, 4);
        } else {
            float t = v * sink->scale;
            t = t > sink->low ? t : sink->low;
            t = t < sink->high ? t : sink->high;
            c->sinks[0][s][at] = (uint8_t)((int32_t)rintf(t) + sink->zero);
        }
    }
}

/// Whether a row is asked for.
static int is_asked(const test_case *c, size_t row) {
    const pfi_picture *p = &c->picture;
    if (c->operation != WINOGRAD) return row >= c->begin && row < c->end;
    size_t across = (p->width + 3) / 4, down = (p->height + 3) / 4, r = row % c->p.rows;
    size_t tile = (row / c->p.rows * down + r / p->width / 4) * across + r % p->width / 4;
    return tile >= c->begin && tile < c->end;
}

static void plain(const test_case *c) {
    const pfi_problem *p = &c->p;
    for (size_t row = 0; row < p->images * p->rows; row++) {
        if (!is_asked(c, row)) continue;
        size_t image = row / p->rows, r = row % p->rows;
        for (size_t n = 0; n < p->outputs; n++) {
            int32_t sum = c->correction ? c->correction[n] : 0;
            float number = 0;
            for (size_t t = 0; t < p->taps; t++) {
                int32_t offset = p->offsets ? p->offsets[r * p->taps + t] : (int32_t)(r * p->row_stride);
                size_t from = image * p->image_stride + (size_t)(offset < 0 ? 0 : offset);
                size_t group = group_of(p), count = c->operation <= WINOGRAD ? p->channels : group;
                for (size_t i = 0; i < count; i++) {
                    size_t channel = c->operation <= WINOGRAD ? i : n / group * group + i;
                    size_t w = c->operation <= WINOGRAD ? (n * p->taps + t) * p->channels + i : (t * group + i) * p->outputs + n;
                    if (c->operation == ROWS)
                        number = c->numbers[from + n];
                    else if (c->bits == 32)
                        number = fmaf(
                            offset < 0 ? c->number_padding[channel] : c->numbers[from + channel], c->number_weights[w], number);
                    else
                        sum += (offset < 0 ? c->code_padding[channel] : c->codes[from + channel]) * c->weights[w];
                }
            }
            plain_epilogue(c, row, n, sum, number);
        }
        for (size_t s = 0; s < c->e.sink_count; s++)
            for (size_t n = p->outputs; n < c->e.sinks[s].padded; n++)
                c->sinks[0][s][row * c->e.sinks[s].stride + n] = (uint8_t)c->e.sinks[s].zero;
    }
}

// MARK: The kernel

static void *aligned_room(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (!p) abort();
    return p;
}

static void run(const test_case *c, pfi_isa isa) {
    const pfi_problem *p = &c->p;
    pfi_epilogue e = c->e;
    for (size_t s = 0; s < e.sink_count; s++) {
        memset(c->sinks[1][s], 0xa5, c->sink_bytes[s]);
        e.sinks[s].data = c->sinks[1][s];
    }
    if (c->operation == ROWS) {
        pfi_rows_f32(isa, p->outputs, c->numbers, p->row_stride, &e, c->begin, c->end);
    } else if (c->bits == 32 && (c->operation == DEPTHWISE || c->operation == GROUPED)) {
        pfi_depthwise_f32(isa, p, c->numbers, c->number_padding, c->number_weights, &e, c->begin, c->end);
    } else if (c->bits == 32) {
        void *packed = aligned_room(pfi_packed_bytes_f32(isa, p->taps, p->channels, p->outputs));
        pfi_pack_f32(isa, c->number_weights, p->taps, p->channels, p->outputs, packed);
        pfi_convolve_f32(isa, p, c->numbers, c->number_padding, packed, &e, c->begin, c->end);
        free(packed);
    } else if (c->operation == WINOGRAD) {
        void *packed = aligned_room(pfi_packed_bytes_winograd_s8(isa, p->channels, p->outputs));
        void *scratch = aligned_room(pfi_winograd_scratch_bytes(isa, p->channels));
        if (pfi_pack_winograd_s8(isa, c->bits, c->weights, p->channels, p->outputs, packed)) {
            pfi_winograd_u8s8(
                isa, &c->picture, c->codes, c->code_padding, packed, c->correction, &e, scratch, c->begin, c->end);
        } else {
            // Not exact for these weights.
            for (size_t s = 0; s < e.sink_count; s++) memcpy(c->sinks[1][s], c->sinks[0][s], c->sink_bytes[s]);
        }
        free(packed);
        free(scratch);
    } else if (c->operation == DEPTHWISE || c->operation == GROUPED) {
        void *packed = aligned_room(pfi_packed_bytes_depthwise_s8(isa, c->bits, p->taps, group_of(p), p->outputs));
        pfi_pack_depthwise_s8(isa, c->bits, c->weights, p->taps, group_of(p), p->outputs, packed);
        pfi_depthwise_u8s8(isa, c->bits, p, c->codes, c->code_padding, packed, c->correction, &e, c->begin, c->end);
        free(packed);
    } else {
        void *packed = aligned_room(pfi_packed_bytes_s8(isa, c->bits, p->taps, p->channels, p->outputs));
        pfi_pack_s8(isa, c->bits, c->weights, p->taps, p->channels, p->outputs, packed);
        pfi_convolve_u8s8(isa, c->bits, p, c->codes, c->code_padding, packed, c->correction, &e, c->begin, c->end);
        free(packed);
    }
}

/// The same bits, or neither a number.
static int is_equal(const test_case *c, size_t s) {
    if (c->e.sinks[s].kind != PFI_FLOATS) return memcmp(c->sinks[0][s], c->sinks[1][s], c->sink_bytes[s]) == 0;
    for (size_t i = 0; i < c->sink_bytes[s]; i += 4) {
        float a, b;
        memcpy(&a, c->sinks[0][s] + i, 4);
        memcpy(&b, c->sinks[1][s] + i, 4);
        if (memcmp(&a, &b, 4) != 0 && !(isnan(a) && isnan(b))) return 0;
    }
    return 1;
}

int main(int argc, char **argv) {
    size_t cases = argc > 1 ? (size_t)atoi(argv[1]) : 300;
    static const struct {
        const char *name;
        operation operation;
        int bits;
    } kernels[] = {
        {"convolve INT7", CONVOLVE, 7},   {"convolve INT8", CONVOLVE, 8},   {"convolve f32", CONVOLVE, 32},
        {"Winograd INT7", WINOGRAD, 7},   {"Winograd INT8", WINOGRAD, 8},   {"depthwise INT7", DEPTHWISE, 7}, {"depthwise INT8", DEPTHWISE, 8}, {"depthwise f32", DEPTHWISE, 32},
        {"groups INT7", GROUPED, 7},      {"groups INT8", GROUPED, 8},      {"groups f32", GROUPED, 32},
        {"rows f32", ROWS, 32},
    };
    int bad = 0;
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) {
        size_t right[5] = {0};
        for (size_t i = 0; i < cases; i++) {
            state = k * 1000003 + i;
            test_case c = make_case(kernels[k].operation, kernels[k].bits);
            plain(&c);
            for (int isa = PFI_PORTABLE; isa <= PFI_NEON; isa++) {
                if (!pfi_has_isa((pfi_isa)isa)) continue;
                run(&c, (pfi_isa)isa);
                int equal = 1;
                for (size_t s = 0; s < c.e.sink_count; s++) equal &= is_equal(&c, s);
                right[isa] += (size_t)equal;
                if (!equal && bad++ < 20)
                    printf(
                        "DIFFERENT: %s, %s, case %zu: images %zu, rows %zu, taps %zu, channels %zu, group %zu, outputs %zu, rows %zu..<%zu\n",
                        kernels[k].name, pfi_isa_name((pfi_isa)isa), i, c.p.images, c.p.rows, c.p.taps, c.p.channels,
                        c.p.group, c.p.outputs, c.begin, c.end);
            }
            free_case(&c);
        }
        printf("%s: %zu cases;", kernels[k].name, cases);
        for (int isa = PFI_PORTABLE; isa <= PFI_NEON; isa++)
            if (pfi_has_isa((pfi_isa)isa)) printf(" %s %zu equal;", pfi_isa_name((pfi_isa)isa), right[isa]);
        printf("\n");
    }
    return bad != 0;
}
