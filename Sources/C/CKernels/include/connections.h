#pragma once
#include <stdbool.h>
#include <stdint.h>

/// What the system knows of a socket.
typedef struct {
    /// Of this socket alone: a descriptor is used again for another one, a cookie never is.
    uint64_t cookie;
    /// Whether the other fields are known: it is a TCP connection.
    bool is_tcp;
    /// The port of this end.
    uint16_t port;
    /// Bytes of the peer that TCP has taken since the connection was made.
    uint64_t received;
    /// Of these, bytes that nobody has read yet.
    uint64_t waiting;
    /// Bytes that the peer has acknowledged.
    uint64_t acknowledged;
    /// Bytes that the peer has not acknowledged, or that were not sent to it yet.
    uint64_t unsent;
} pfc_connection;

/// Looks at a socket. Returns false if the descriptor is none.
bool pfc_connection_look(int descriptor, pfc_connection *connection);

/// The cookie of the socket that has this descriptor now; 0 if there is none.
uint64_t pfc_connection_cookie(int descriptor);

/// Ends a connection both ways if the descriptor is still the socket with this cookie. Whoever owns the descriptor sees an end, and
/// closes it. Returns whether it did.
bool pfc_connection_end(int descriptor, uint64_t cookie);

/// Allows the process as many descriptors as the system lets it have. Returns how many these are.
int64_t pfc_raise_descriptor_limit(void);

/// Opens a descriptor that is good for nothing but to be closed when one is needed; -1 if there is none.
int pfc_spare_descriptor(void);
