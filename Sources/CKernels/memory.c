#define _GNU_SOURCE
#include "memory.h"

#include <sys/mman.h>

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>

void pfc_keep_freed_memory(void) {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
}
#else
void pfc_keep_freed_memory(void) {}
#endif

void *pfc_grow_mapping(void *address, size_t old_byte_count, size_t new_byte_count) {
    void *moved = mremap(address, old_byte_count, new_byte_count, MREMAP_MAYMOVE);
    return moved == MAP_FAILED ? NULL : moved;
}
