// Depthwise convolutions of bytes: a vector of channels at a time, taps interleaved by unpacking. Included after epilogue_body.h.
//
// Two rounds of unpacking leave four vectors of sums; channel 16·L + 4·v + i is number 4·L + i of vector v. Packing them to bytes
// undoes it. Taps are taken in *slabs* of up to 16. Nine taps (3×3) are taken by columns: where a row's columns are those of the row before,
// moved by one, two thirds of the unpacking are there already.

enum { depthwise_channels = sizeof(bytes), depthwise_slab = 16 };

/// The channel of number i of vector v.
PFI_INLINE size_t unpacked_channel(size_t v, size_t i) { return i / 4 * 16 + v * 4 + i % 4; }

PFI_INLINE void unpacked_order(const void *natural, void *to) {
    for (size_t v = 0; v < 4; v++)
        for (size_t i = 0; i < PFI_LANES; i += 4)
            memcpy(
                (unsigned char *)to + (v * PFI_LANES + i) * 4,
                (const unsigned char *)natural + unpacked_channel(v, i) * 4, 16);
}

/// What a strip needs everywhere, in the order of unpacking.
typedef struct {
    const pfi_panel *panel;
    int32_t correction[depthwise_channels] __attribute__((aligned(64)));
    float scale[depthwise_channels] __attribute__((aligned(64)));
    float bias[depthwise_channels] __attribute__((aligned(64)));
    float slope[depthwise_channels] __attribute__((aligned(64)));
    coding codes;
} depthwise_numbers;

/// Any epilogue.
static __attribute__((noinline)) void depthwise_finish_row(
    const pfi_panel *panel, words a, words b, words c, words d, size_t row) {
    words sum[4] = {a, b, c, d};
    int32_t unpacked[depthwise_channels] __attribute__((aligned(64)));
    int32_t sums[depthwise_channels] __attribute__((aligned(64)));
    PFI_UNROLL for (int v = 0; v < 4; v++) store_words(unpacked + v * PFI_LANES, sum[v]);
    for (size_t v = 0; v < 4; v++)
        for (size_t i = 0; i < PFI_LANES; i += 4)
            memcpy(sums + unpacked_channel(v, i), unpacked + v * PFI_LANES + i, 16);
    finish_row(panel, sums, NULL, row);
}

PFI_INLINE void depthwise_finish(const depthwise_numbers *n, const words *sum, size_t row, const int is_simple) {
    const pfi_panel *panel = n->panel;
    if (!is_simple) {
        depthwise_finish_row(panel, sum[0], sum[1], sum[2], sum[3], row);
        return;
    }
    const pfi_sink *sink = &panel->e->sinks[0];
    singles y[1][4];
    words codes[4];
    PFI_UNROLL for (int v = 0; v < 4; v++) y[0][v] = to_singles(sum[v]);
    scale_all(y, n->scale, n->bias, 1, 4);
    activate_all(y, &panel->e->first, n->slope, 1, 4);
    PFI_UNROLL for (int v = 0; v < 4; v++) codes[v] = coded(y[0][v], &n->codes);
    store_unpacked_coded((uint8_t *)sink->data + row * sink->stride + panel->first, codes, &n->codes);
}

/// Some taps of a row, all of them or some of their channels; of groups of channels, one in all places of its group.
typedef struct {
    const uint8_t *x[depthwise_slab];
    size_t taps, channels, group;
    /// By a channel's number in its group; NULL without groups.
    const bytes *spreading;
} slab;

/// The last three columns of three taps, interleaved.
typedef struct window window;
/// Moves by one column. `spreading`: of groups; NULL without.
typedef void (*push_function)(
    window *, const uint8_t *top, const uint8_t *middle, const uint8_t *bottom, const bytes *spreading);
/// Adds the products of a window, or of a slab of taps, to the sums; gives the weights behind them.
typedef void (*window_function)(const window *, const bytes *weights, words *sum);
typedef const void *(*slab_function)(const slab *, const void *weights, words *sum);

typedef struct {
    push_function push;
    window_function window;
    slab_function slab;
    /// Nine taps are in this order for the slab, columns first, -1: none.
    const int8_t *order;
    size_t ordered;
    /// Vectors of a window's weights, and whether four more behind them say what its sums lack.
    int vectors, is_taken;
} depthwise_body;

/// The weight of a tap, as a body orders them, and a channel, or zero.
static int weight_at(const int8_t *weights, size_t taps, size_t channels, const int8_t *order, size_t t, size_t c) {
    if (c >= channels) return 0;
    if (taps == 9) return order[t] < 0 ? 0 : weights[(size_t)order[t] * channels + c];
    return t < taps ? weights[t * channels + c] : 0;
}

PFI_INLINE bytes load_column(const uint8_t *x, const bytes *spreading) {
    bytes v = load_bytes(x);
    return spreading ? spread_bytes(v, *spreading) : v;
}

PFI_INLINE bytes load_tap(const slab *s, size_t t) {
    bytes v = s->channels == depthwise_channels ? load_bytes(s->x[t]) : load_some_bytes(s->x[t], s->channels);
    return s->spreading ? spread_bytes(v, s->spreading[t & (s->group - 1)]) : v;
}
