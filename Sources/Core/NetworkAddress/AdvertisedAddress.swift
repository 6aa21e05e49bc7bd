/// What others call a process that listens: a host, and a port if it is another one than it listens at (a published port).
public struct AdvertisedAddress: Hashable, Sendable {
    public var host: Host
    public var port: UInt16?

    /// Reads `host-b`, `192.0.2.7`, `::1`, `[::1]`, each also with `:PORT` (IPv6 in brackets then) and with `tcp://` before it.
    ///
    /// - Throws: `AddressError` that says what to write instead.
    public init(_ text: String) throws(AddressError) {
        let rest = text.lowercased().hasPrefix("tcp://") ? String(text.dropFirst(6)) : text
        if rest.contains("://") { throw AddressError(text, "is no host; write HOST or HOST:PORT") }
        let bare = rest.hasPrefix("[") && rest.hasSuffix("]") ? String(rest.dropFirst().dropLast()) : rest
        if let host = try? Host(bare), bare == rest || bare.contains(":") {
            (self.host, port) = (host, nil)
        } else if rest.contains(":") {
            let address = try HostPort(rest)
            guard let port = address.port else {
                throw AddressError(
                    text, "names no port that others could use; leave it out for the one that is listened at")
            }
            (host, self.port) = (address.host, port)
        } else {
            do { host = try Host(rest) } catch { throw AddressError(text, error.problem) }
            port = nil
        }
        guard !host.isEvery else {
            throw AddressError(
                text, "is where to listen; write the name or the address that others reach this machine at")
        }
        if case .ipv6(_, let zone?) = host {
            throw AddressError(text, "%\(zone) means something on this machine alone; write an address without a zone")
        }
    }

    /// What others connect to of a process that listens at `endpoint`.
    public func endpoint(of endpoint: Endpoint) -> Endpoint {
        guard case .tcp(let listening) = endpoint else { return endpoint }
        return .tcp(HostPort(host: host, port: port ?? listening.port))
    }
}
