#pragma once
#include <stddef.h>

/// Makes the allocator keep freed memory (up to 1 GiB at the top of the heap) and map only blocks above 32 MiB anew.
void pfc_keep_freed_memory(void);

/// Grows an anonymous mapping, which may move. The new bytes are zero. Returns NULL, and changes nothing, if there is no memory.
void *pfc_grow_mapping(void *address, size_t old_byte_count, size_t new_byte_count);
