import NetworkAddress

/// By which of its addresses a host name is tried.
///
/// ZeroMQ looks a name up and takes one address: of IPv4, or, if it may, the first of IPv6. A name often has both, `localhost` for one,
/// and the server listens at one. So both are tried in turn until one is connected: IPv4 first.
struct AddressFamily {
    private(set) var isIPv6 = false
    /// When the other one is tried; nil while one is connected.
    private(set) var next: ContinuousClock.Instant?

    /// IPv4 has the longer turn: its connections are tried for as long as a lost packet is sent again.
    private static let patience = (ipv4: Duration.seconds(4), ipv6: Duration.seconds(2))

    /// Returns nil for an endpoint that leaves no choice.
    init?(of endpoint: Endpoint) {
        guard case .tcp(let address) = endpoint, case .name = address.host else { return nil }
        next = .now + Self.patience.ipv6
    }

    /// Whether the other one is to be tried from now on.
    mutating func changes(at now: ContinuousClock.Instant) -> Bool {
        guard let due = next, due <= now else { return false }
        isIPv6.toggle()
        next = now + (isIPv6 ? Self.patience.ipv6 : Self.patience.ipv4)
        return true
    }

    /// It leads to the server.
    mutating func keep() { next = nil }

    /// The connection is gone: the server may come back at the other one.
    mutating func lost(at now: ContinuousClock.Instant) { next = now + Self.patience.ipv4 }
}
