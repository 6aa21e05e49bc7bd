// Row kernels: norms, sums, the gradient through the normalisation.
#include "head.h"
#include "head_math.h"
#include "head_vectors.h"

PFC_CLONES ptrdiff_t pfc_head_first_nonfinite(const float *values, ptrdiff_t count) {
    enum { block = 1024 };
    for (ptrdiff_t start = 0; start < count; start += block) {
        ptrdiff_t end = start + block < count ? start + block : count;
        int32_t bad = 0;
        for (ptrdiff_t j = start; j < end; j++) bad |= (pfc_bits_of_float(values[j]) & 0x7f800000) == 0x7f800000;
        if (bad)
            for (ptrdiff_t j = start; j < end; j++)
                if ((pfc_bits_of_float(values[j]) & 0x7f800000) == 0x7f800000) return j;
    }
    return -1;
}

PFC_CLONES void pfc_head_inverse_norms(const float *rows, ptrdiff_t count, ptrdiff_t size, float *inverse) {
    for (ptrdiff_t i = 0; i < count; i++) inverse[i] = (float)inverse_norm(rows + i * size, size);
}

PFC_CLONES void pfc_head_normalize(const float *rows, ptrdiff_t count, ptrdiff_t size, float *normalized) {
    for (ptrdiff_t i = 0; i < count; i++) {
        double scale = inverse_norm(rows + i * size, size);
        for (ptrdiff_t j = 0; j < size; j++) normalized[i * size + j] = (float)((double)rows[i * size + j] * scale);
    }
}

PFC_CLONES void pfc_head_add(float *sum, const float *addend, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) sum[i] += addend[i];
}

PFC_CLONES void pfc_head_row_gradient(
    const float *rows, const float *h, double scale_over_batch, ptrdiff_t count, ptrdiff_t size, float *gradient) {
    for (ptrdiff_t i = 0; i < count; i++, rows += size, h += size, gradient += size) {
        float outer, inner;
        gradient_factors(rows, h, scale_over_batch, size, &outer, &inner);
        for (ptrdiff_t j = 0; j < size; j++) gradient[j] = outer * (h[j] - inner * rows[j]);
    }
}

void pfc_head_margin_at(const pfc_head_margin *margin, double cosine, double *value, double *derivative) {
    double c = cosine < -1.0 ? -1.0 : (cosine > 1.0 ? 1.0 : cosine);
    double s = sqrt((1.0 - c) * (1.0 + c));
    double angle = pfc_angle(c, s), sine, cosine_of;
    pfc_sincos(margin->m1 * angle + margin->m2, &sine, &cosine_of);
    *value = cosine_of - margin->m3;
    if (margin->m1 == 1.0 && margin->m2 == 0.0) {
        *value = c - margin->m3;
        *derivative = 1.0;
        return;
    }
    // d/dc cos(m1 acos c + m2) = m1 sin(m1 angle + m2) / sin(angle). It grows without bound where the angle goes to 0 or pi
    // (for m2 = 0 and angle 0 it tends to m1^2): the angle is kept a little away from both.
    const double least = 1e-6, pi = 0x1.921fb54442d18p1;
    double a = angle < least ? least : (angle > pi - least ? pi - least : angle), below, unused;
    pfc_sincos(margin->m1 * a + margin->m2, &sine, &unused);
    pfc_sincos(a, &below, &unused);
    *derivative = margin->m1 * sine / below;
}

PFC_CLONES void pfc_head_target(
    const pfc_head_margin *margin, const float *x, const float *w, ptrdiff_t size, float *logit, float *derivative) {
    double value, slope;
    pfc_head_margin_at(margin, dot(x, w, size) * inverse_norm(x, size) * inverse_norm(w, size), &value, &slope);
    *logit = (float)(margin->scale * value);
    *derivative = (float)slope;
}

PFC_CLONES void pfc_head_target_numerator(const float *w, float derivative, ptrdiff_t size, float *numerator) {
    double factor = (double)derivative * inverse_norm(w, size);
    for (ptrdiff_t j = 0; j < size; j++) numerator[j] = (float)(factor * (double)w[j]);
}

// With p the probability of the target and L the loss, 1 - p = 1 - exp(-L). Both come from the sum over the other classes,
// so a well-learnt sample, whose p rounds to 1, keeps its loss and its gradient to full relative precision.
PFC_CLONES void pfc_head_finish(
    ptrdiff_t samples, ptrdiff_t size, double scale_over_batch, const float *features, const float *maximum,
    const float *sum, const float *numerator, const float *target_logits, const float *target_numerators, double *loss,
    double *log_z, float *gradient) {
    for (ptrdiff_t i = 0; i < samples; i++) {
        double target = target_logits[i], others = sum[i], weight = 0.0;
        loss[i] = 0.0;
        log_z[i] = target;
        if (others != 0.0) {
            double above = (double)maximum[i] - target;
            if (above > 0.0) {
                log_z[i] = (double)maximum[i] + pfc_log(others + pfc_exp(-above));
                loss[i] = log_z[i] - target;
            } else {
                loss[i] = pfc_log1p(others * pfc_exp(above));
                log_z[i] = target + loss[i];
            }
            weight = pfc_exp((double)maximum[i] - log_z[i]);
        }
        float others_weight = (float)weight, target_weight = (float)-pfc_expm1(-loss[i]);
        const float *x = features + i * size, *a = numerator + i * size, *b = target_numerators + i * size;
        float *g = gradient + i * size;
        for (ptrdiff_t j = 0; j < size; j++) g[j] = others_weight * a[j] - target_weight * b[j];
        float outer, inner;
        gradient_factors(x, g, scale_over_batch, size, &outer, &inner);
        for (ptrdiff_t j = 0; j < size; j++) g[j] = outer * (g[j] - inner * x[j]);
    }
}
