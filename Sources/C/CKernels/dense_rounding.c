// Gradients of the backbone's flat vector, rounded on their way.
#include "backbone.h"
#include "row_codec.h"

PFC_CLONES void pfc_round_bf16(float *restrict values, size_t count, uint64_t key, uint64_t first_element) {
    uint32_t bits_key = (uint32_t)mix(key);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)pfc_bits_of_float(values[i]);
        uint32_t more = random_bits(bits_key, (ptrdiff_t)(first_element + i)) & 0xffff;
        uint32_t rounded = (bits + more) & 0xffff0000;
        values[i] = pfc_float_of_bits((int32_t)((bits & 0x7f800000) == 0x7f800000 ? bits : rounded));
    }
}
