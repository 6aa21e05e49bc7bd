#define _GNU_SOURCE
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "past_caches.h"

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>

void pfc_keep_freed_memory(void) {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void pfc_use_one_arena(void) { mallopt(M_ARENA_MAX, 1); }

void pfc_give_back_freed_memory(void) { malloc_trim(0); }
#else
void pfc_use_one_arena(void) {}
void pfc_keep_freed_memory(void) {}
void pfc_give_back_freed_memory(void) {}
#endif

int64_t pfc_resident_byte_count(void) {
    char text[128];
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    if (count <= 0) return 0;
    text[count] = 0;
    long long size, resident;
    return sscanf(text, "%lld %lld", &size, &resident) == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}

void pfc_copy_past_caches(void *destination, const void *source, ptrdiff_t byte_count) {
    pfc_past_caches(destination, source, byte_count);
    pfc_past_caches_done();
}

static size_t whole_pages(size_t byte_count, size_t page) { return (byte_count + page - 1) / page * page; }

void *pfc_map(size_t byte_count, size_t alignment) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), spare = alignment > page ? alignment - page : 0;
    if (byte_count > SIZE_MAX - spare - page) return NULL;
    size_t length = whole_pages(byte_count, page);
    char *start = mmap(NULL, length + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
    if (spare == 0) return start;
    // What is before and after the aligned part goes back.
    size_t before = (alignment - (uintptr_t)start % alignment) % alignment;
    if (before > 0) munmap(start, before);
    if (spare > before) munmap(start + before + length, spare - before);
    return start + before;
}

static int open_nameless(const char *directory) {
    int file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return file;
    // A file system that knows no files without a name.
    char path[4096];
    if (snprintf(path, sizeof path, "%s/.table-XXXXXX", directory) >= (int)sizeof path) return errno = ENAMETOOLONG, -1;
    file = mkostemp(path, O_CLOEXEC);
    if (file >= 0) unlink(path);
    return file;
}

void *pfc_map_file(const char *directory, size_t byte_count) {
    int file = open_nameless(directory);
    if (file < 0) return NULL;
    int problem = posix_fallocate(file, 0, (off_t)byte_count);
    void *start = MAP_FAILED;
    if (problem == 0) {
        start = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        problem = errno;
    }
    close(file);
    if (start == MAP_FAILED) return errno = problem, NULL;
    return start;
}

void *pfc_grow_mapping(void *address, size_t old_byte_count, size_t new_byte_count, size_t alignment) {
    if ((uintptr_t)address % alignment == 0 && mremap(address, old_byte_count, new_byte_count, 0) != MAP_FAILED)
        return address;
    // The pages move into a place that is aligned: their contents are not copied.
    void *place = pfc_map(new_byte_count, alignment);
    if (place == NULL) return NULL;
    if (mremap(address, old_byte_count, new_byte_count, MREMAP_MAYMOVE | MREMAP_FIXED, place) != MAP_FAILED) return place;
    munmap(place, new_byte_count);
    return NULL;
}
