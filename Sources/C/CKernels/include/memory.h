#pragma once
#include <stddef.h>
#include <stdint.h>

/// Makes the allocator keep freed memory (up to 1 GiB at the top of the heap) and map only blocks above 32 MiB anew.
void pfc_keep_freed_memory(void);

/// Makes all threads allocate from one arena, if called before there are others. malloc_trim gives back the free end of the first arena alone;
/// what others have at theirs, after a burst of messages 64 MiB each, would stay.
void pfc_use_one_arena(void);

/// Gives memory that was freed, and that the allocator keeps, back to the system.
void pfc_give_back_freed_memory(void);

/// Resident bytes of this process; 0 if the system does not tell.
int64_t pfc_resident_byte_count(void);

/// Copies bytes that nobody reads soon, past the caches as far as `destination` is a multiple of 64. The two do not overlap.
void pfc_copy_past_caches(void *destination, const void *source, ptrdiff_t byte_count);

/// Maps zeroed anonymous memory at a multiple of `alignment`, a power of two. Memory is taken when it is first written.
/// Returns NULL if there is none.
void *pfc_map(size_t byte_count, size_t alignment);

/// Maps zeros of a new file in `directory` that has no name and ends with the mapping. Its room on the disk is taken at once, so that
/// writing to it cannot fail. Returns NULL, with errno set, if there is no such directory or no room.
void *pfc_map_file(const char *directory, size_t byte_count);

/// Grows what `pfc_map` gave, which may move to another multiple of `alignment`. The new bytes are zero. Returns NULL, and
/// changes nothing, if there is no memory.
void *pfc_grow_mapping(void *address, size_t old_byte_count, size_t new_byte_count, size_t alignment);
