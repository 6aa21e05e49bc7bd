#pragma once
#include <dnnl.h>

/* One OpenMP thread per compute thread: parallelism is over micro-batches, never inside one. */
extern void omp_set_num_threads(int count);
