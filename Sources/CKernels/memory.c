#include "memory.h"

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>

void pfc_keep_freed_memory(void) {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
}
#else
void pfc_keep_freed_memory(void) {}
#endif
