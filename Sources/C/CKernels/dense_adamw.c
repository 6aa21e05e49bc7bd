// AdamW on parts of the backbone's flat vector.
#include "adamw.h"
#include "backbone.h"
#include "row_codec.h"

PFC_CLONES void pfc_adamw(
    const pfc_optimizer *optimizer, uint32_t age, const float *restrict p, const float *restrict m,
    const float *restrict v, const float *restrict g, size_t count, float clip, float *restrict p_next,
    float *restrict m_next, float *restrict v_next) {
    adamw_step step = adamw_step_of(optimizer, age);
    for (size_t i = 0; i < count; i++) {
        float first = m[i], second = v[i];
        p_next[i] = adamw_element(&step, p[i], clip * g[i], &first, &second);
        m_next[i] = first;
        v_next[i] = second;
    }
}

PFC_CLONES void pfc_adamw_bf16(
    const pfc_optimizer *optimizer, uint32_t age, const float *restrict p, const uint16_t *restrict m,
    const uint16_t *restrict v, const float *restrict g, size_t count, float clip, uint64_t key, uint64_t first_element,
    float *restrict p_next, uint16_t *restrict m_next, uint16_t *restrict v_next) {
    adamw_step step = adamw_step_of(optimizer, age);
    uint32_t bits_key = (uint32_t)mix(key);
    for (size_t i = 0; i < count; i++) {
        float first = pfc_bf16_value(m[i]), second = pfc_bf16_value(v[i]);
        p_next[i] = adamw_element(&step, p[i], clip * g[i], &first, &second);
        uint32_t bits = random_bits(bits_key, (ptrdiff_t)(first_element + i));
        m_next[i] = (uint16_t)(((uint32_t)pfc_bits_of_float(first) + (bits & 0xffff)) >> 16);
        v_next[i] = (uint16_t)(((uint32_t)pfc_bits_of_float(second) + (bits >> 16)) >> 16);
    }
}

int pfc_all_finite_bf16(const uint16_t *a, size_t count) {
    int finite = 1;
    for (size_t i = 0; i < count; i++) finite &= (a[i] & 0x7f80) != 0x7f80;
    return finite;
}
