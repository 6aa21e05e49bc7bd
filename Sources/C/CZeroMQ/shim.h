#pragma once
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

/* A file descriptor that wakes a thread out of zmq_poll; -1 and errno when there is none to be had. */
static inline int zmq_shim_wake_open(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

/* Makes the descriptor readable. */
static inline void zmq_shim_wake(int descriptor) {
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

/* Makes the descriptor unreadable until the next wake. */
static inline void zmq_shim_wake_drain(int descriptor) {
    uint64_t count;
    while (read(descriptor, &count, sizeof count) < 0 && errno == EINTR) {
    }
}
