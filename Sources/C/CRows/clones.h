#pragma once
// One source, compiled for several sets of instructions; the loader takes the best.
#if defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif
