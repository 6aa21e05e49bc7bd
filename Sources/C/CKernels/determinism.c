#include "determinism.h"

#if defined(__x86_64__)
#include <xmmintrin.h>

uint32_t pfc_flush_denormals_enter(void) {
    uint32_t previous = _mm_getcsr();
    _mm_setcsr(previous | 0x8040u);
    return previous;
}

void pfc_flush_denormals_leave(uint32_t previous) { _mm_setcsr(previous); }
#else
uint32_t pfc_flush_denormals_enter(void) { return 0; }
void pfc_flush_denormals_leave(uint32_t previous) { (void)previous; }
#endif
