// The numbers of an epilogue for one panel of outputs, so that vectors can be read whole.
#include "kernels.h"

static const float ones[pfi_most_outputs] = {
#define EIGHT(x) x, x, x, x, x, x, x, x
    EIGHT(1.0f), EIGHT(1.0f), EIGHT(1.0f), EIGHT(1.0f), EIGHT(1.0f), EIGHT(1.0f), EIGHT(1.0f), EIGHT(1.0f)};
// Adding it changes no number, not even a zero's sign.
static const float minus_zeros[pfi_most_outputs] = {
    EIGHT(-0.0f), EIGHT(-0.0f), EIGHT(-0.0f), EIGHT(-0.0f), EIGHT(-0.0f), EIGHT(-0.0f), EIGHT(-0.0f), EIGHT(-0.0f)};
static const int32_t zeros[pfi_most_outputs];

/// Where the panel reads its part of `all`: there, or a copy with room behind it.
static const float *part(const float *all, size_t first, size_t count, size_t width, float *room) {
    if (!all || count == width) return all ? all + first : NULL;
    memset(room, 0, width * sizeof *room);
    memcpy(room, all + first, count * sizeof *room);
    return room;
}

pfi_panel pfi_make_panel(
    const pfi_epilogue *e, const int32_t *correction, size_t first, size_t width, size_t outputs,
    pfi_panel_storage *storage) {
    pfi_panel panel = {.e = e, .first = first, .count = pfi_smaller(width, outputs - first)};
    size_t count = panel.count;
    if (!correction) {
        panel.correction = zeros;
    } else if (count == width) {
        panel.correction = correction + first;
    } else {
        memset(storage->correction, 0, sizeof storage->correction);
        memcpy(storage->correction, correction + first, count * sizeof *correction);
        panel.correction = storage->correction;
    }
    panel.scale = e->scale ? part(e->scale, first, count, width, storage->numbers[0]) : ones;
    panel.bias = e->bias ? part(e->bias, first, count, width, storage->numbers[1]) : minus_zeros;
    const pfi_activation *activations[2] = {&e->first, &e->second};
    for (int i = 0; i < 2; i++)
        if (activations[i]->kind == PFI_PRELU)
            panel.slopes[i] = part(activations[i]->slope, first, count, width, storage->numbers[2 + i]);
    for (size_t s = 0; s < e->sink_count; s++) {
        const pfi_sink *sink = &e->sinks[s];
        panel.factor[s] = part(sink->factor, first, count, width, storage->numbers[4 + 2 * s]);
        panel.summand[s] =
            sink->summand ? part(sink->summand, first, count, width, storage->numbers[5 + 2 * s]) : minus_zeros;
        if (first + count == outputs && sink->kind == PFI_CODES && sink->padded > outputs)
            panel.padding[s] = sink->padded - outputs;
    }
    panel.is_whole = count == width;
    for (size_t s = 0; s < e->sink_count; s++)
        if (e->sinks[s].kind == PFI_SUMS || panel.padding[s]) panel.is_whole = 0;
    panel.is_simple = panel.is_whole && e->sink_count == 1 && e->sinks[0].kind == PFI_CODES && !e->sinks[0].factor &&
                      !e->residual && e->second.kind == PFI_NONE;
    return panel;
}
