#define _GNU_SOURCE
#include "processor.h"

#include <sched.h>
#include <string.h>

int pfc_allowed_cores(uint64_t *words, size_t count) {
    memset(words, 0, count * 8);
    return sched_getaffinity(0, count * 8, (cpu_set_t *)words);
}

int pfc_stay_on_cores(const uint64_t *words, size_t count) {
    return sched_setaffinity(0, count * 8, (const cpu_set_t *)words);
}
