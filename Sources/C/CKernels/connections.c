#define _GNU_SOURCE
#include "connections.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

static bool cookie_of(int descriptor, uint64_t *cookie) {
    socklen_t size = sizeof *cookie;
    return getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, cookie, &size) == 0;
}

uint64_t pfc_connection_cookie(int descriptor) {
    uint64_t cookie;
    return cookie_of(descriptor, &cookie) ? cookie : 0;
}

static uint16_t port_of(int descriptor) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(descriptor, (struct sockaddr *)&address, &size) != 0) return 0;
    if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

bool pfc_connection_look(int descriptor, pfc_connection *connection) {
    uint64_t after;
    memset(connection, 0, sizeof *connection);
    if (!cookie_of(descriptor, &connection->cookie)) return false;
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    socklen_t size = sizeof info;
    int waiting = 0, unsent = 0;
    connection->is_tcp = getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
    if (connection->is_tcp) {
        connection->port = port_of(descriptor);
        // What waits is asked for last: it is a part of what was received by then, or less.
        ioctl(descriptor, SIOCOUTQ, &unsent);
        ioctl(descriptor, SIOCINQ, &waiting);
        connection->received = info.tcpi_bytes_received;
        connection->acknowledged = info.tcpi_bytes_acked;
        connection->waiting = waiting > 0 ? (uint64_t)waiting : 0;
        connection->unsent = unsent > 0 ? (uint64_t)unsent : 0;
    }
    // Another thread may have closed it meanwhile, and opened something else.
    return cookie_of(descriptor, &after) && after == connection->cookie;
}

bool pfc_connection_end(int descriptor, uint64_t cookie) {
    uint64_t now;
    if (!cookie_of(descriptor, &now) || now != cookie) return false;
    // When ZeroMQ closes it the peer is told at once. Else one whose window is closed waits for a minute or more, and so does the kernel.
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return shutdown(descriptor, SHUT_RDWR) == 0;
}

int64_t pfc_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    rlim_t most = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > 1 << 20 ? 1 << 20 : limit.rlim_max;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < most) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = most;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
    }
    return limit.rlim_cur == RLIM_INFINITY ? 1 << 20 : (int64_t)limit.rlim_cur;
}

int pfc_spare_descriptor(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }
